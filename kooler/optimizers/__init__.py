"""The update seam: gradients go in, new weights come out."""

from kooler.optimizers import transforms
from kooler.optimizers.accumulate import Accumulate
from kooler.optimizers.averages import EMA, SWA
from kooler.optimizers.gradient_transform import GradientTransform
from kooler.optimizers.group import Group
from kooler.optimizers.inject import inject
from kooler.optimizers.layer_decay import layer_decay
from kooler.optimizers.lazy import Lazy
from kooler.optimizers.learning_rate_multiplier import LearningRateMultiplier
from kooler.optimizers.lookahead import Lookahead
from kooler.optimizers.param_groups import ParamGroups
from kooler.optimizers.power_ema import PowerEMA
from kooler.optimizers.schedule_free import ScheduleFreeAverage
from kooler.optimizers.synthesis import load_snapshots, save_snapshots, synthesize
from kooler.optimizers.telemetry import Telemetry
from kooler.optimizers.weight_average import WeightAverage
from kooler.optimizers.wrapper import OptimizerWrapper

__all__ = [
    "EMA",
    "SWA",
    "Accumulate",
    "GradientTransform",
    "Group",
    "Lazy",
    "LearningRateMultiplier",
    "Lookahead",
    "OptimizerWrapper",
    "ParamGroups",
    "PowerEMA",
    "ScheduleFreeAverage",
    "Telemetry",
    "WeightAverage",
    "inject",
    "layer_decay",
    "load_snapshots",
    "save_snapshots",
    "synthesize",
    "transforms",
]
