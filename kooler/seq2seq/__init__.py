"""Text written from both ends: from raw text to a trained, evaluated generator of titles.

The path, one file a stage, in reading order: `corpus` → `tokenizer` → `spool` → `batches` → `order`
→ `model` → `search` → `generation` → `train` → `evaluate` → `cli`.  Text exists only in corpus,
tokenizer, evaluate and report; everything between moves token ids.

Names are imported on first use, so that the command line starts, and complains, before Keras loads.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kooler.seq2seq.ctranslate2_export import export_ctranslate2
    from kooler.seq2seq.generation import Generation, generate
    from kooler.seq2seq.model import Seq2Seq
    from kooler.seq2seq.saved_model_export import export_saved_model
    from kooler.seq2seq.scoring import score
    from kooler.seq2seq.synchronous import SynchronousBidirectional
    from kooler.seq2seq.tokenizer import Tokenizer

_HOMES = {
    "Generation": "generation",
    "Seq2Seq": "model",
    "SynchronousBidirectional": "synchronous",
    "Tokenizer": "tokenizer",
    "export_ctranslate2": "ctranslate2_export",
    "export_saved_model": "saved_model_export",
    "generate": "generation",
    "score": "scoring",
}

__all__ = [
    "Generation",
    "Seq2Seq",
    "SynchronousBidirectional",
    "Tokenizer",
    "export_ctranslate2",
    "export_saved_model",
    "generate",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
