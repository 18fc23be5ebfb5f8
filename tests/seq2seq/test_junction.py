import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq.junction import (
    Junction,
    junction_artefacts,
    lacks_in_the_middle,
    repeats_in_the_middle,
)


@pytest.mark.parametrize(
    ("target", "reference", "repeated", "missing"),
    [
        ("a b b c", "a b c", True, False),  # one token twice
        ("a b c a b c", "a b c", True, False),  # three tokens twice
        ("a b c d a b c d", "a b c d", False, False),  # four are not looked at
        ("a b b c", "x b b y", False, False),  # the reference says it twice as well
        ("a a b c", "a b c", False, False),  # twice, but not in the middle
        ("a b d e", "a b c d e", False, True),  # one token left out
        ("a b f g", "a b c d e f g", False, True),  # three left out
        ("a b g h", "a b c d e f g h", False, False),  # four are not looked at
        ("a c d e", "a b c d e", False, False),  # left out, but not in the middle
        ("a b d e", "b c d b d", False, False),  # the reference has both
        ("a b b", "a b", True, False),  # an odd number: the left half has the odd token
        ("a b", "b a", False, False),
    ],
)
def test_what_is_counted_can_be_seen(target, reference, repeated, missing):
    target, reference = target.split(), reference.split()

    assert repeats_in_the_middle(target, reference) == repeated
    assert lacks_in_the_middle(target, reference) == missing


def test_shares_are_of_the_targets_that_have_two_halves():
    targets = [[6, 7, 7, 8], [6, 7, 9, 8], [6, 7], [6], []]
    references = [[6, 7, 8], [6, 7, 5, 9, 8], [6, 7], [6], [6, 7]]

    found = junction_artefacts(targets, references)

    assert found == Junction(3, pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert junction_artefacts([], []) == Junction(0, 0.0, 0.0)


@given(st.lists(st.integers(6, 9), max_size=9))
def test_what_equals_its_reference_has_no_artefact(target):
    found = junction_artefacts([target], [target])

    assert (found.repeated, found.missing) == (0.0, 0.0)


def test_a_target_without_a_reference_is_refused():
    with pytest.raises(ValueError, match="received 1 targets and 2 references"):
        junction_artefacts([[6]], [[6], [7]])
