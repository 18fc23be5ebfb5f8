"""A small report for the tests: English or Chinese, with every part."""

from kooler.seq2seq.comparison import SCORES
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.report import (
    Attention,
    Chart,
    Curve,
    Growth,
    GrowthStep,
    Report,
    Sample,
    ScoreRow,
    WrittenToken,
)

BASE = evaluate_titles(["a b c d"], ["a b c d"])._replace(**dict.fromkeys(SCORES, 40.0))

GROWTH = Growth(
    source="A storm hit the old port of Lisbon.",
    title="Storm hits Lisbon port",
    steps=[
        GrowthStep([WrittenToken("Storm", 0.9)], [WrittenToken(" port", 0.75)]),
        GrowthStep([WrittenToken(" hits", 0.8)], [WrittenToken(" Lisbon", 0.001)]),
        GrowthStep([WrittenToken("", 0.999, ends=True)]),
    ],
    note="A note on growth.",
)
CHINESE_GROWTH = Growth(
    source="强风暴袭击里斯本港口。",
    title="风暴袭港",
    steps=[
        GrowthStep([WrittenToken("风", 0.9)], [WrittenToken("港", 0.7)]),
        GrowthStep([WrittenToken("暴", 0.8)], [WrittenToken("袭", 1.0)]),
        GrowthStep([WrittenToken("", 0.99, ends=True)]),
    ],
)


def example_report(**changes):
    """A report with every part; `changes` replace parts of it."""
    parts = {
        "title": "News titles",
        "summary": "A model and its titles.",
        "rows": [
            ScoreRow("l2r", "model", BASE),
            ScoreRow("best", "model", BASE._replace(exact=90.0)),
            ScoreRow("lead", "baseline", BASE._replace(rouge_1=30.0)),
            ScoreRow("nearest title", "baseline", BASE._replace(rouge_1=20.0, rouge_l=20.0)),
            ScoreRow("oracle sentence", "oracle", BASE._replace(rouge_1=95.0, rouge_l=95.0)),
        ],
        "growth": GROWTH,
        "samples": [
            Sample(
                source="A storm hit the old port of Lisbon.",
                reference="Storm hits Lisbon port",
                titles={
                    "l2r": "Storm hits Oslo port",
                    "mid": "Storm Lisbon port",
                    "best": "Storm hits Lisbon port",
                    "r2l": "Storm hits Lisbon port",
                },
            ),
            Sample("long text " * 60, "Some title", {"custom order": ""}),
        ],
        "attention": Attention(
            source_tokens=["A", " storm", " hit", " Lisbon"],
            title_tokens=["Storm", " hits", " Lisbon"],
            weights=[[0.1, 0.8, 0.05, 0.05], [0.0, 0.2, 0.7, 0.1], [0.0, 0.1, 0.0, 0.9]],
            note="last layer",
        ),
        "charts": [
            Chart(
                "Loss by order",
                "nats per token",
                [Curve("l2r", [1, 2, 3], [4.0, 2.0, 1.0]), Curve("own name", [1, 3], [5.0, 3.0])],
            )
        ],
        "settings": {"size": "tiny", "seed": 0},
        "machine": {"processor": "two cores"},
        "versions": {"keras": "3.15.1"},
    }
    return Report(**(parts | changes))
