"""Which backend Keras computes with, decided before Keras is imported.

Keras reads `KERAS_BACKEND`, then keras.json, and falls back to TensorFlow, installed or not.  At
its first import it also writes keras.json with that fallback, so a file with exactly Keras's
defaults is nobody's choice.  A command line should simply run: without a choice it takes what is
installed.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

BACKENDS = ("jax", "torch", "tensorflow")
UNTOUCHED = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def installed(backend: str) -> bool:
    """Whether a backend can be imported; it is not."""
    return importlib.util.find_spec(backend) is not None


def choose_backend(
    environment: Mapping[str, str],
    preferred: str | None = None,
    installed: Callable[[str], bool] = installed,
) -> tuple[str, bool]:
    """Decides for a backend.

    Args:
        environment: The environment variables.
        preferred: What to take if the environment does not say: the backend of a run.
        installed: Tells whether a backend is there.

    Returns:
        Its name, and whether someone chose it.

    Raises:
        ValueError: If the chosen one is not installed, or none is.

    Example:
        >>> os.environ["KERAS_BACKEND"], chosen = choose_backend(os.environ)
    """
    chosen = environment.get("KERAS_BACKEND") or preferred or _configured(environment, installed)
    if chosen:
        _check(chosen, installed)
        return chosen, True
    for backend in BACKENDS:
        if installed(backend):
            return backend, False
    raise ValueError(
        "no backend for Keras is installed. Install one of them: "
        "pip install jax, pip install torch, or pip install tensorflow."
    )


def prepare_process(backend: str) -> None:
    """Sets what must be set before Keras is imported, in a process that is ours alone.

    TensorFlow adds in an order that changes from run to run unless it is told not to, and tells
    about its processor features on stderr; neither belongs into `kooler train`.
    """
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _check(backend: str, installed: Callable[[str], bool]) -> None:
    if backend not in BACKENDS:
        raise ValueError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}, received {backend!r}. "
            "Unset it to take what is installed."
        )
    if not installed(backend):
        raise ValueError(
            f"the backend {backend} is chosen but not installed. Install it "
            f"(pip install {backend}), or choose another with KERAS_BACKEND."
        )


def _configured(environment: Mapping[str, str], installed: Callable[[str], bool]) -> str | None:
    """The backend of a keras.json that someone wrote."""
    folder = environment.get("KERAS_HOME") or str(Path.home() / ".keras")
    try:
        content = json.loads(Path(folder, "keras.json").read_text("utf-8"))
        backend = content["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # Keras itself goes on without a file that it cannot read
    if content == UNTOUCHED or not (backend in BACKENDS and installed(backend)):
        return None
    return str(backend)
