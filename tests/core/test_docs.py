"""The pages about techniques: their snippets run, one after the other, in an empty folder."""

import linecache
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "accumulate",
    "adding",
    "bidirectional",
    "callbacks",
    "capture",
    "copying",
    "corpus",
    "data",
    "export",
    "gan",
    "gradient_transforms",
    "index",
    "layers",
    "lazy",
    "learning_rates",
    "logging",
    "lookahead",
    "loss_model",
    "masks",
    "param_groups",
    "recurrent",
    "reparametrize",
    "seams",
    "sharing",
    "steps",
    "telemetry",
    "tutorial",
    "weight_average",
)


def run_snippets(page: str) -> dict[str, Any]:
    """The names that the snippets of a page leave."""
    names: dict[str, Any] = {}
    text = (DOCS / f"{page}.md").read_text("utf-8")
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        file = f"<{page}.md, snippet {number}>"
        linecache.cache[file] = len(snippet), None, snippet.splitlines(keepends=True), file
        exec(compile(snippet, file, "exec"), names)
    return names


def test_the_snippets_about_the_core() -> None:
    names = run_snippets("core")
    names["model"].fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)

    names["words"].fit(np.ones((4, 5)), np.zeros((4, 5, 8)), verbose=0)
    momentum = np.asarray(names["words"].optimizer.momenta[0])

    assert int(np.asarray(names["model"].optimizer.iterations)) == 1
    assert np.flatnonzero(momentum.any(axis=1)).tolist() == [1]


def test_the_start_page_shows_the_same_code_in_chinese() -> None:
    def code(page: str) -> list[str]:
        text = (DOCS / f"{page}.md").read_text("utf-8")
        return [
            re.sub(r"  # .*", "", block) for block in re.findall(r"```\w+\n(.*?)```", text, re.S)
        ]

    assert code("zh/index") == code("index")


@pytest.mark.compiles
@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run_snippets(page)
