"""The rows of the conformance suite: adding a technique is adding one.

Each alone and the nestings that people use run every day, all ordered pairs of techniques with the
slow tests.
"""

import copy
import dataclasses

from kooler.optimizers import (
    EMA,
    SWA,
    Accumulate,
    GradientTransform,
    Group,
    LearningRateMultiplier,
    Lookahead,
    ParamGroups,
    PowerEMA,
    WeightAverage,
    transforms,
)
from tests.optimizers.conformance import Case, compose, pairs
from tests.optimizers.oracles import (
    AccumulateOracle,
    AverageOracle,
    ClipOracle,
    GroupsOracle,
    LookaheadOracle,
    MultiplierOracle,
    Oracle,
    TrailOracle,
    WindowOracle,
)
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
ACCUMULATE = Case(
    "accumulate",
    lambda inner: Accumulate(inner, 3),
    lambda inner: AccumulateOracle(inner, 3),
    neutral=lambda inner: Accumulate(inner, 1),
    state=("mean_gradients",),
)
LOOKAHEAD = Case(
    "lookahead",
    lambda inner: Lookahead(inner, 4, 0.4, on_sync="pullback"),
    lambda inner: LookaheadOracle(inner, 4, 0.4, "pullback"),
    neutral=lambda inner: Lookahead(inner, 4, 1.0),
    state=("slow",),
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
AVERAGE = Case(
    "average",
    lambda inner: WeightAverage(
        inner,
        {
            "ema": EMA(0.75),
            "power": PowerEMA(0.1, every=2),
            "swa": SWA(start=2, every=3),
            "warm": EMA(half_life=2, warmup=True),
        },
    ),
    lambda inner: AverageOracle(
        inner,
        {
            "ema": lambda t: 0.25,
            "power": lambda t: 1.0 if t < 2 else (1 - (1 - 2 / t) ** 7.93722) * (t % 2 == 0),
            "swa": lambda t: 1.0 if t < 5 else 3 / (t - 2) * ((t - 2) % 3 == 0),
            "warm": lambda t: max(1 - 0.5**0.5, t ** (-2 / 3)),
        },
    ),
    neutral=lambda inner: WeightAverage(inner, EMA(0.9)),
    state=("average_slots",),
)
GROUPS = Case(
    "groups",
    lambda inner: ParamGroups([Group("v1"), Group("v3")], inner),
    lambda inner: GroupsOracle([copy.deepcopy(inner) for _ in range(3)], [0, 1, 0, 2]),
    neutral=lambda inner: ParamGroups([Group("v1"), Group("v3")], inner),
)
TOYS = [NOTHING, TRAIL, WINDOW]
TECHNIQUES = [ACCUMULATE, LOOKAHEAD, MULTIPLIER, CLIP, AVERAGE]
POPULAR = [
    compose(TRAIL, WINDOW),
    compose(WINDOW, TRAIL),
    compose(LOOKAHEAD, ACCUMULATE),
    compose(ACCUMULATE, LOOKAHEAD),
    compose(TRAIL, LOOKAHEAD, ACCUMULATE),
    compose(ACCUMULATE, MULTIPLIER),
    compose(ACCUMULATE, CLIP),
    compose(CLIP, ACCUMULATE, LOOKAHEAD),
    compose(AVERAGE, ACCUMULATE),
    compose(ACCUMULATE, AVERAGE),
    compose(AVERAGE, LOOKAHEAD, ACCUMULATE),
]
GROUPED = [  # each group has a copy of what is inside, with a state of its own
    *(compose(case, GROUPS) for case in (AVERAGE, ACCUMULATE, CLIP)),
    *(dataclasses.replace(compose(GROUPS, case), state=()) for case in (LOOKAHEAD, ACCUMULATE)),
]
SINGLE = [*TOYS, *TECHNIQUES]
DAILY = {case.name: case for case in [*SINGLE, GROUPS, *POPULAR]}
ALL = {case.name: case for case in [*SINGLE, GROUPS, *POPULAR, *GROUPED, *pairs(TECHNIQUES)]}

__all__ = ["ALL", "DAILY", "SINGLE"]
