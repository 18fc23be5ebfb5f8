"""Results of single runs in a file, so that a benchmark that was stopped goes on where it was.

Each line of the file is `[key, result]`, key a list of what the result depends on.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Remembered:
    """Results that are computed once.

        runs = Remembered(folder / "runs.jsonl")
        accuracy = runs("freeze", seed, run=lambda: train("freeze", seed))

    Args:
        path: The file of results; None remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        if path and path.is_file():
            lines = map(json.loads, path.read_text("utf-8").splitlines())
            self.known = {json.dumps(key): result for key, result in lines}

    def __call__(self, *key: Any, run: Callable[[], Any]) -> Any:
        """The result of this key; `run` computes what is not known."""
        name = json.dumps(key)
        if name not in self.known:
            self.known[name] = run()
            self._write(key, self.known[name])
        return self.known[name]

    def _write(self, key: Any, result: Any) -> None:
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, result]) + "\n")
