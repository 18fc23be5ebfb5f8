"""The page about the core: its snippets run."""

import re
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "core.md"


def test_the_snippets_run_one_after_the_other() -> None:
    names: dict[str, Any] = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(snippet, names)
    names["model"].fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)

    assert int(np.asarray(names["model"].optimizer.iterations)) == 1
