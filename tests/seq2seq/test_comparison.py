"""The sentence about baselines says that the model loses exactly when it does."""

from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq.comparison import SCORES, ScoreRow, comparison_sentence, losses
from kooler.seq2seq.evaluate import evaluate_titles

BASE = evaluate_titles(["a b c d"], ["a b c d"])._replace(**dict.fromkeys(SCORES, 0.0))
HOLDS = "In no score is any order of the model below a baseline."


def row(name, kind="model", **scores):
    return ScoreRow(name, kind, BASE._replace(**scores))


def test_it_says_who_loses_where_and_against_what():
    rows = [
        row("l2r", rouge_1=14.04, bleu=2.0, chrf=40.0),
        row("mid", rouge_1=20.0, bleu=3.0, chrf=10.0),
        row("best", rouge_1=20.0, bleu=9.0, chrf=40.0),
        row("lead", "baseline", chrf=30.0),
        row("nearest title", "baseline", rouge_1=15.26, bleu=3.1, chrf=20.0),
    ]

    assert comparison_sentence(rows) == (
        "l2r loses against nearest title in ROUGE-1 (14.0 to 15.3) and BLEU (2.0 to 3.1). "
        "mid loses against nearest title in BLEU (3.0 to 3.1) "
        "and against lead in chrF (10.0 to 30.0)."
    )


def test_three_scores_are_listed_with_commas():
    rows = [row("mid"), row("lead", "baseline", exact=1.0, rouge_l=2.0, last_tokens=3.0)]

    assert comparison_sentence(rows) == (
        "mid loses against lead in exact titles (0.0 to 1.0), ROUGE-L (0.0 to 2.0) "
        "and last four tokens (0.0 to 3.0)."
    )


def test_all_scores_are_not_listed_one_by_one():
    rows = [row("mid"), row("lead", "baseline", **dict.fromkeys(SCORES, 1.0))]

    assert comparison_sentence(rows) == "mid loses against lead in every score."
    rows[0] = row("mid", bleu=1.0)
    assert "every" not in comparison_sentence(rows)


def test_a_difference_that_the_table_does_not_show_is_none():
    assert losses([row("l2r", bleu=9.96), row("lead", "baseline", bleu=10.04)]) == []
    assert len(losses([row("l2r", bleu=9.94), row("lead", "baseline", bleu=10.04)])) == 1


def test_an_oracle_is_no_baseline():
    rows = [row("l2r"), row("lead", "baseline"), row("oracle sentence", "oracle", rouge_1=99.0)]
    assert comparison_sentence(rows) == HOLDS


def test_without_a_rival_nothing_is_claimed():
    nothing = "No model or no baseline was scored, so there is nothing to compare."
    assert comparison_sentence([]) == nothing
    assert comparison_sentence([row("l2r")]) == nothing
    assert comparison_sentence([row("lead", "baseline"), row("o", "oracle")]) == nothing


tables = st.lists(
    st.tuples(
        st.sampled_from(["model", "baseline", "oracle"]),
        st.fixed_dictionaries({name: st.sampled_from([0.0, 50.0, 99.9]) for name in SCORES}),
    ),
    max_size=5,
)


@given(tables)
def test_it_says_so_exactly_when_it_loses(table):
    rows = [row(f"{kind} {i}", kind, **scores) for i, (kind, scores) in enumerate(table)]
    expected = {
        (f"model {i}", name)
        for i, (kind, scores) in enumerate(table)
        for rival, theirs in table
        for name in SCORES
        if (kind, rival) == ("model", "baseline") and scores[name] < theirs[name]
    }

    found = losses(rows)
    assert {(loss.model, loss.score) for loss in found} == expected
    assert len(found) == len(expected)
    assert ("loses against" in comparison_sentence(rows)) == bool(expected)
