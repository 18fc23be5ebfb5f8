"""The rows of the conformance suite: adding a technique is adding one."""

from kooler.optimizers import GradientTransform, LearningRateMultiplier, transforms
from tests.optimizers.conformance import Case, compose, pairs
from tests.optimizers.oracles import ClipOracle, MultiplierOracle, Oracle, TrailOracle, WindowOracle
from tests.toys import Nothing, Trail, Window

NOTHING = Case("nothing", Nothing, Oracle, neutral=Nothing)
TRAIL = Case("trail", Trail, TrailOracle, neutral=Trail, state=("averages",))
WINDOW = Case(
    "window",
    lambda inner: Window(inner, 3),
    lambda inner: WindowOracle(inner, 3),
    neutral=None,  # with one step, w·g/w is g only to rounding
    state=("sums",),
)
MULTIPLIER = Case(
    "multiplier",
    lambda inner: LearningRateMultiplier(inner, {"v1": 0.5, "v2": 3.0, "v3": 0.0}),
    lambda inner: MultiplierOracle(inner, [1.0, 0.5, 3.0, 0.0]),
    neutral=lambda inner: LearningRateMultiplier(inner, {"v": 1.0}),
)
CLIP = Case(
    "clip",
    lambda inner: GradientTransform(inner, transforms.clip_by_global_norm(2.0)),
    lambda inner: ClipOracle(inner, 2.0),
    neutral=lambda inner: GradientTransform(
        inner, transforms.skip_nonfinite(), transforms.clip_by_global_norm(1e9)
    ),
)
SINGLE = [NOTHING, TRAIL, WINDOW, MULTIPLIER, CLIP]
NESTED = [*pairs(SINGLE), compose(TRAIL, NOTHING, WINDOW)]
ALL = {case.name: case for case in [*SINGLE, *NESTED]}

__all__ = ["ALL", "NESTED", "SINGLE"]
