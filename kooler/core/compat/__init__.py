"""The only folder of kooler that touches Keras's private API.

Each function hides one use, says what it relies on, and has a test in `tests/core/test_compat.py`
with its name, so that a Keras release which changes the internals is named by the test that fails.
Nothing here is a technique.

    observers.py          who is told when a model is compiled, or is about to be built
    optimizers.py         what an optimizer keeps to itself
    scopes.py             where the value of a variable is
    trainer.py            what a trainer does between a batch and its loss
    feed.py               what stands in the place of arrays in `fit`
    layers.py             what layers hold, and what they know while they are called
    derived_variable.py   a weight that is computed
"""

from kooler.core.compat.derived_variable import DerivedVariable, autocast
from kooler.core.compat.feed import Feed
from kooler.core.compat.layers import (
    add_metric,
    add_sublayer,
    flat_layers,
    is_recomputed,
    is_training,
    listed,
    made_trainable,
    mask_of,
    moving_state,
    outermost_layer,
    own_variables,
    remove_sublayer,
    set_mask,
    sublayers,
    trace,
    track_variable,
    tracked,
    untrack_variable,
    untracked,
)
from kooler.core.compat.observers import observe_building, observe_compile
from kooler.core.compat.optimizers import (
    built_for,
    call_counter,
    clipped_by_global_norm,
    copy_decay_exclusions,
    decays,
    exchange_optimizer,
    fast_points,
    forget_learning_rate,
    layout_of,
    momenta_of,
    move_by_torch,
    must_be_finite,
    own_learning_rate,
    track,
    update_counter,
)
from kooler.core.compat.scopes import (
    inheriting_scope,
    kept_values,
    running_values,
    scope_value,
    separate_buffers,
    visible_value,
)
from kooler.core.compat.trainer import (
    batches_of,
    call_model,
    compute_loss,
    duplicate,
    has_own,
    model_of,
    noted_losses,
    run_symbolically,
    track_loss,
    unbuilt,
)

__all__ = [
    "DerivedVariable",
    "Feed",
    "add_metric",
    "add_sublayer",
    "autocast",
    "batches_of",
    "built_for",
    "call_counter",
    "call_model",
    "clipped_by_global_norm",
    "compute_loss",
    "copy_decay_exclusions",
    "decays",
    "duplicate",
    "exchange_optimizer",
    "fast_points",
    "flat_layers",
    "forget_learning_rate",
    "has_own",
    "inheriting_scope",
    "is_recomputed",
    "is_training",
    "kept_values",
    "layout_of",
    "listed",
    "made_trainable",
    "mask_of",
    "model_of",
    "momenta_of",
    "move_by_torch",
    "moving_state",
    "must_be_finite",
    "noted_losses",
    "observe_building",
    "observe_compile",
    "outermost_layer",
    "own_learning_rate",
    "own_variables",
    "remove_sublayer",
    "run_symbolically",
    "running_values",
    "scope_value",
    "separate_buffers",
    "set_mask",
    "sublayers",
    "trace",
    "track",
    "track_loss",
    "track_variable",
    "tracked",
    "unbuilt",
    "untrack_variable",
    "untracked",
    "update_counter",
    "visible_value",
]
