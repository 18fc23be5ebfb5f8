"""Each technique on one and on two replicas: see `tests/core/replicas.py`.

python -m tests.optimizers.replicas
"""

from tests.core.replicas import Case, X, Y, linear, main
from tests.optimizers.wrapped import WRAPPED

CASES: dict[str, Case] = {
    name: (lambda make=make: linear(make()), (X, Y), 16) for name, make in WRAPPED.items()
}

if __name__ == "__main__":
    main(CASES)
