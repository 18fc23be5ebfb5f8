"""The model that comes with kooler: it writes titles for abstracts of computer science, in English.

It is small, and learned from the titles and abstracts of arXiv alone; the card beside its weights,
`shipped/README.md`, says with which command, how good it is, and for what it is no good.
"""

from pathlib import Path

SHIPPED = Path(__file__).with_name("shipped")
