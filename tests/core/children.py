"""Other processes: what a script among the tests prints there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def printed_by(module: str) -> Any:
    """The value on the last line that `python -m module` prints, as JSON.

    Args:
        module: For instance "tests.core.replicas".
    """
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
