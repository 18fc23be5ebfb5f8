"""What a report shows: plain numbers and strings, checked when they are put in.

Everything here comes from elsewhere as data, so a report can be written again without the model,
and the same data make the same file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kooler.seq2seq.comparison import ScoreRow


@dataclass(frozen=True)
class Curve:
    """A line in a chart.

    Args:
        name: What is written at its end: "l2r", "train".
        x: Where it was measured, mostly updates.
        y: What was measured; a value that is not finite leaves a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(
                f"A curve needs one y for each x, received {len(self.x)} x and {len(self.y)} y "
                f"for {self.name!r}. Leave out both where nothing was measured."
            )


@dataclass(frozen=True)
class Chart:
    """A picture of curves over the same axes.

    Args:
        title: What it shows.
        unit: What the y axis counts: "nats per token", "%".
        curves: Its lines.
        x_label: What the x axis counts.
    """

    title: str
    unit: str
    curves: Sequence[Curve]
    x_label: str = "updates"


@dataclass(frozen=True)
class Sample:
    """A source with its true title and what was written for it.

    Args:
        source: The text.
        reference: The true title.
        titles: For each order ("l2r", …) its title.
    """

    source: str
    reference: str
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Attention:
    """Where the decoder looks in the source while it writes one title.

    Args:
        source_tokens: Labels of the columns.
        title_tokens: Labels of the rows.
        weights: (title tokens, source tokens), each from 0 to 1.
        note: Which layer, heads and order: "last layer, mean of 4 heads, l2r".
    """

    source_tokens: Sequence[str]
    title_tokens: Sequence[str]
    weights: Sequence[Sequence[float]]
    note: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.title_tokens), len(self.source_tokens))
        widths = {len(row) for row in self.weights}
        if not all(shape) or len(self.weights) != shape[0] or widths != {shape[1]}:
            raise ValueError(
                "`weights` needs one row for each title token and one column for each source "
                f"token, {shape[0]} × {shape[1]} (both at least 1), received {len(self.weights)} "
                f"rows of {sorted(widths)}. Cut the padding off."
            )
        if not all(0 <= weight <= 1 for row in self.weights for weight in row):
            raise ValueError(
                "Attention weights must be from 0 to 1, received one outside or NaN. "
                "Give them after the softmax."
            )


@dataclass(frozen=True)
class WrittenToken:
    """A token and how sure the model was of it.

    Args:
        text: The token as it reads, with the space before it where it has one.
        probability: From 0 to 1.
        ends: Whether it is no text but the sign that the two halves have met.
    """

    text: str
    probability: float
    ends: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"`probability` must be from 0 to 1, received {self.probability} for "
                f"{self.text!r}. Take `exp` of a log-probability."
            )


@dataclass(frozen=True)
class GrowthStep:
    """What one step writes at either end.

    Args:
        left: Tokens added after the left half, in the order written (outside to inside).
        right: Tokens added before the right half, in the order written (outside to inside).
    """

    left: Sequence[WrittenToken] = ()
    right: Sequence[WrittenToken] = ()


@dataclass(frozen=True)
class Growth:
    """One title, growing from both ends towards its middle.

    Args:
        source: The text.
        title: The title that results.
        steps: What each step writes; at least one.
        note: More about it, in a sentence.
    """

    source: str
    title: str
    steps: Sequence[GrowthStep]
    note: str = ""

    def __post_init__(self) -> None:
        if not any(step.left or step.right for step in self.steps):
            raise ValueError(
                "A growing title needs at least one step that writes a token, received "
                f"{len(self.steps)} steps without any. Leave `growth=None` to show none."
            )


@dataclass(frozen=True)
class Report:
    """Everything that `write_report` shows; an empty part is left out.

    Args:
        title: The heading.
        summary: A sentence or two below it.
        rows: The table of scores: orders of the model, baselines, oracles.
        growth: The title that grows from both ends.
        samples: Sources with their titles.
        attention: The picture of the attention.
        charts: The curves of the training.
        settings: Names and values.
        machine: Names and values: processor, memory, seconds of training.
        versions: Packages and their versions.
        language: Language of sources and titles, as in HTML's `lang` ("en", "zh").
    """

    title: str
    summary: str = ""
    rows: Sequence[ScoreRow] = ()
    growth: Growth | None = None
    samples: Sequence[Sample] = ()
    attention: Attention | None = None
    charts: Sequence[Chart] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    machine: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)
    language: str = "en"
