"""Each technique on one device and on two: see `tests/core/devices.py`.

python -m tests.optimizers.devices
"""

from tests.core.devices import Case, X, dense, main
from tests.optimizers.wrapped import WRAPPED

CASES: dict[str, Case] = {
    name: (lambda make=make: dense(make()), X) for name, make in WRAPPED.items()
}

if __name__ == "__main__":
    main(CASES)
