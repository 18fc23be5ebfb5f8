"""A file that the wheel lacks is named before anything is installed."""

import sys
import zipfile
from pathlib import Path

from tools import environment

sys.path.insert(0, str(Path(environment.__file__).parent))  # as for a script
sys.modules.setdefault("environment", environment)
from tools import wheels  # noqa: E402  (after the path)


def test_what_the_wheel_lacks_is_named(tmp_path: Path) -> None:
    package = tmp_path / "kooler"
    for name in ("__init__.py", "py.typed", "seq2seq/page.html", "__pycache__/a.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    with zipfile.ZipFile(tmp_path / "kooler-1-py3-none-any.whl", "w") as wheel:
        wheel.write(package / "__init__.py", "kooler/__init__.py")
        wheel.writestr("kooler-1.dist-info/METADATA", "")

    missing = wheels.left_out(tmp_path / "kooler-1-py3-none-any.whl", tmp_path)

    assert missing == ["kooler/py.typed", "kooler/seq2seq/page.html"]


def test_another_backend_beside_ours_would_be_noticed() -> None:
    program = wheels.USE.format(others=["torch", "tensorflow"])

    compile(program, "use", "exec")
    assert "if name in sys.modules or importlib.util.find_spec(name)" in program
