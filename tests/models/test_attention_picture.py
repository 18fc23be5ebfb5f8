"""The picture of attention: one grid a head, with the tokens at its edges."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kooler.models import plot_attention

SOURCE, TARGET = ["the", "black", "cat"], ["le", "chat"]
WEIGHTS = np.array([[0.9, 0.1, 0.0], [0.1, 0.2, 0.7]], "float32")


def labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_picture_holds_the_weights_and_the_tokens() -> None:
    (axes,) = plot_attention(WEIGHTS, SOURCE, TARGET).axes

    np.testing.assert_array_equal(axes.images[0].get_array(), WEIGHTS)
    assert labels(axes.xaxis) == SOURCE
    assert labels(axes.yaxis) == TARGET


def test_heads_stand_side_by_side() -> None:
    figure = plot_attention(np.stack([WEIGHTS, WEIGHTS[:, ::-1]]), SOURCE, TARGET)

    assert [axes.get_title() for axes in figure.axes] == ["head 0", "head 1"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), WEIGHTS[:, ::-1])
    assert labels(figure.axes[1].yaxis) == ["", ""]


def test_it_is_written_to_a_file(tmp_path: Path) -> None:
    plot_attention(WEIGHTS, SOURCE, TARGET, path=tmp_path / "attention.svg")

    assert (tmp_path / "attention.svg").read_text().count("<svg") == 1


def test_scores_that_do_not_fit_the_tokens() -> None:
    with pytest.raises(ValueError, match=r"\(targets, sources\) = \(2, 2\).*received \(2, 3\)"):
        plot_attention(WEIGHTS, SOURCE[:2], TARGET)
