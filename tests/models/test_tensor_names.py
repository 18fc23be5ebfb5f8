"""Names of tensors: paths, numbers, stars; and the printed tree."""

from typing import Any

import keras
import pytest

from kooler.models import names
from kooler.models.tensor_names import Pattern, layers_of
from tests.models.attending import attending_model


def test_the_tree_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    found = names(attending_model())

    tree = [
        "first",
        "  attend  .scores .weights",
        "    query  .x",
        "    key  .x",
        "inner",
        "  second",
        "    attend  .scores .weights",
        "      query  .x",
        "      key  .x",
        "doubled",
    ]
    assert capsys.readouterr().out.splitlines()[: len(tree)] == tree
    assert found[:5] == [
        "first",
        "first/attend",
        "first/attend.scores",
        "first/attend.weights",
        "first/attend/query",
    ]
    assert "inner/second/attend.weights" in found


def test_every_printed_name_can_be_captured() -> None:
    model = attending_model()
    patterns = [Pattern(name) for name in names(model)]

    assert all(pattern.finds(pattern.text) and not pattern.many for pattern in patterns)


def test_a_model_of_ones_own_shows_its_own_variables(capsys: pytest.CaptureFixture[str]) -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            hidden = x * 2
            return hidden

    assert names(Own()) == [".hidden"]
    assert capsys.readouterr().out == "  .hidden\n"


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("a/b", "a/b", True),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("*", "a/b", False),
        ("a*/b*c", "a1/bxc", True),
        ("a.b", "axb", False),
        ("a.*", "a.scores", True),
        ("a[0]", "a[0]", True),
        ("a/b#1", "a/b", True),
    ],
)
def test_a_star_stops_at_a_slash(pattern: str, name: str, found: bool) -> None:
    assert Pattern(pattern).finds(name) == found


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [("a", [0]), ("a#0", [0]), ("a#2", [2]), ("a#*", [0, 1, 2]), ("a#b", [0])],
)
def test_numbers_of_calls(pattern: str, numbers: list[int]) -> None:
    assert [number for number in range(3) if Pattern(pattern).counts(number)] == numbers


def test_a_layer_name_may_have_a_dot() -> None:
    pattern = Pattern("conv.1")

    assert pattern.finds_output("conv.1")
    assert not pattern.finds_local("conv.1", "x")
    assert Pattern("conv.1.x").finds_local("conv.1", "x")


def test_layers_with_the_same_path_are_all_there() -> None:
    class Twins(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="twins")
            self.parts = [keras.layers.Identity(name="twin") for _ in range(2)]

    assert len(layers_of(Twins())["twin"]) == 2
