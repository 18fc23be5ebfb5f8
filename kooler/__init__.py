"""kooler makes Keras cooler."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kooler.core.attach import attach, flush

__version__ = "0.1.0"
__all__ = ["attach", "flush"]

_HOME = {"attach": "kooler.core.attach", "flush": "kooler.core.attach"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: `import kooler` alone needs no Keras."""
    if name not in _HOME:
        raise AttributeError(f"module 'kooler' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
