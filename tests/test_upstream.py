"""The drafts of reports to Keras, KerasHub and optax: each defect is still there, and not with us.

When one of these fails because a script passes, the defect has been mended: take the draft away.
"""

import re
import runpy
from pathlib import Path

import pytest

from tests.conftest import BACKEND

FOLDER = Path(__file__).parents[1] / "docs" / "upstream"
ROWS = re.findall(
    r"^\| `(\w+)\.py` \| [^|]+ \| ([a-z, ]+) \|", (FOLDER / "README.md").read_text("utf-8"), re.M
)
HERE = [name for name, backends in ROWS if BACKEND in backends.split(", ")]
PARTS = (
    "Seen with",
    "What happens:",
    "What is expected:",
    "Cause",
    "Suggested fix:",
    "Way round it:",
)


def test_every_draft_is_listed_and_complete() -> None:
    drafts = {path.stem: path.read_text("utf-8").split('"""')[1] for path in FOLDER.glob("*.py")}

    assert sorted(drafts) == sorted(name for name, backends in ROWS)
    for name, report in drafts.items():
        places = [report.find(f"\n\n{part}") for part in PARTS]
        assert places[0] > -1 and places == sorted(places), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", HERE)
def test_the_defect_is_there_and_not_with_us(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name.startswith("keras_hub"):
        pytest.importorskip("keras_hub", reason="KerasHub needs more than the tests install")

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")

    theirs, ours, expected = capsys.readouterr().out.splitlines()[-3:]
    found, right = ours.partition(": ")[2], expected.partition(": ")[2]
    assert ended.value.code == "FAIL", f"mended: {theirs}"
    assert found == right
