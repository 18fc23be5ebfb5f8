"""The notebooks: kept without outputs, and every cell runs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
named = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@named
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells

    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert path.stat().st_size < 20_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@named
def test_every_cell_of_a_notebook_runs(path: Path) -> None:
    notebook = executed(path)

    assert not [cell for cell in notebook.cells if "error" in kinds_of_output(cell)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_progress_is_drawn_in_place_in_a_notebook() -> None:
    (first,) = [path for path in NOTEBOOKS if path.stem == "first_steps"]

    notebook = executed(first)

    (fit,) = [cell for cell in notebook.cells if "Progress(" in cell.source]
    (shown,) = [output for output in fit.outputs if output.output_type == "display_data"]
    assert "epoch 5/5" in shown["data"]["text/plain"]
    assert "stream" not in kinds_of_output(fit)


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, from a fresh process in the folder of the checkout."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(path.parent), env=environment())
    return notebook


def environment() -> dict[str, str]:
    """That of the tests, in which a kernel finds this checkout."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def kinds_of_output(cell: nbformat.NotebookNode) -> set[str]:
    """Of what kinds the outputs of a cell are."""
    return {output.output_type for output in cell.get("outputs", [])}
