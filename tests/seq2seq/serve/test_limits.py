"""Limits that nothing could pass are refused."""

import pytest

from kooler.seq2seq.serve.limits import Limits, Refusal


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": 0}, "`rows` must be at least 1, received 0."),
        ({"seconds": float("nan")}, "`seconds` must be above 0 and finite, received nan."),
        ({"seconds": 0}, "`seconds` must be above 0 and finite, received 0."),
        ({"beam_sizes": ()}, "`beam_sizes` must name each size once and at least one, received no"),
        ({"beam_sizes": (5, 5)}, "`beam_sizes` must name each size once and at least one, receive"),
        ({"queue": 8, "texts": 9}, "`queue` must hold the texts of one request, received queue=8"),
    ],
    ids=["rows", "nan", "no time", "no beam", "two beams", "queue"],
)
def test_limits_that_nothing_could_pass_are_refused(limits, message):
    with pytest.raises(ValueError) as raised:
        Limits(**limits)

    assert str(raised.value).startswith(message)


def test_a_refusal_says_why():
    refusal = Refusal(503, "later", retry_after=3)

    assert (str(refusal), refusal.status, refusal.field, refusal.retry_after) == (
        "later",
        503,
        None,
        3,
    )
