"""`verbose=2` prints every negative value in exponent form.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704, whatever the backend.

What happens: a loss of -0.5 is shown as "-5.0000e-01" with `verbose=2`, and as "-0.5000" with
`verbose=1`.

What is expected: "-0.5000" in both.

Cause: `Progbar.update` in `utils/progbar.py` tests `if avg > 1e-3` for `verbose == 2`, and `if
abs(avg) > 1e-3` for `verbose == 1`.

Suggested fix: `abs` in both.

Way round it: `kooler.callbacks.Progress`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import contextlib
import io
import re
import sys

import keras
import numpy as np


def shown_loss(**arguments):
    layer = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.0), loss=lambda target, prediction: prediction - 0.5)
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        model.fit(np.ones((4, 1)), np.ones((4, 1)), **arguments)
    shown = re.findall(r"loss:? ?(-[\d.e-]+)", screen.getvalue())[-1]
    return "with an exponent" if "e" in shown else "plain"


def with_keras():
    return shown_loss(verbose=2)


def with_kooler():
    from kooler.callbacks import Progress

    return shown_loss(verbose=0, callbacks=[Progress()])


if __name__ == "__main__":
    expected, theirs = "plain", with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
