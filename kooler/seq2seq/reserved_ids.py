"""The six token ids which every vocabulary keeps free for the model.

Ordinary tokens start at `RESERVED`.  The tokenizer never produces an id below it and skips
such ids when it turns ids back into text; the model uses them to mark the ends of a target
and the order in which it is written.
"""

PAD = 0  # fills the tail of a row; never a token
EOS = 1  # ends a target
L2R = 2  # starts a target written left to right
R2L = 3  # starts a target written right to left
MID_LEFT = 4  # starts the left half of a target written from both ends
MID_RIGHT = 5  # starts its right half
RESERVED = 6  # the first id of an ordinary token
