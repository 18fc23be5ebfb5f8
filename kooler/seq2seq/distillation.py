"""Knowledge distillation by sequences: learn what a trained model writes instead of what is true.

    p(y | x) is learned from the pairs (x, ŷ),   ŷ = the best title that a teacher writes for x.

The targets of a teacher are more regular than those of people, which is what orders need that write
several tokens at once (`mid`).  Whoever compares must let the other models learn from the same
targets.

Kim, Rush, "Sequence-Level Knowledge Distillation", 2016, https://arxiv.org/abs/1606.07947
"""

import itertools
from collections.abc import Iterable, Iterator

from kooler.seq2seq.corpus import Pair

WINDOW = 512  # texts


def distilled(pairs: Iterable[Pair], teacher: str, beam_size: int = 5) -> Iterator[Pair]:
    """Pairs with a teacher's targets; where it writes nothing, the true one stays.

    Args:
        pairs: The texts, and their true titles.
        teacher: The run directory of a trained model; it is opened with the first pair.
        beam_size: Hypotheses of its search.

    Raises:
        ValueError: If there is no such run.
    """
    from kooler.seq2seq.writer import Writer  # Keras, which a corpus can do without

    writer, rest = Writer.load(teacher), iter(pairs)
    while window := list(itertools.islice(rest, WINDOW)):
        titles = writer.write([pair.source for pair in window], beam_size=beam_size)
        for pair, found in zip(window, titles, strict=True):
            yield Pair(pair.source, found[0].text or pair.target)
