"""A model that is its losses: no targets, any tensor as a loss, any tensor as a metric.

    model = LossModel([query, positive, negative], {"triplet": triplet}, metrics={"margin": margin})
    model.compile("adam")
    model.fit((queries, positives, negatives))      # loss: 0.31 - margin: 0.52 - triplet: 0.31

Whatever a loss needs is an input: targets, masks, weights. What is minimised is

    loss = Σ weight · mean(loss of this name) + what layers add (`add_loss`, regularizers),

and each loss and metric is reported under its name, averaged over the examples: a batch counts by
how many it has, also the last one. This is the model without outputs of the series
(https://kexue.fm/archives/6311), which Keras 3 no longer knows: `model.add_loss(tensor)` is an
error without a text, `Model(inputs, [])` is one too, and `add_metric` is gone.
"""

import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kooler.core.batch import Data, examples_in
from kooler.core.types import Tensor
from kooler.models.no_targets import without_targets

LEGAL = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


@keras.saving.register_keras_serializable("kooler")
@without_targets
class LossModel(keras.Model):
    """A functional model that is trained on tensors of its own, without targets.

    Args:
        inputs: The inputs, targets among them: a Keras tensor or a nest of them.
        losses: Name → tensor: a scalar, or with the batch as first axis; its mean counts.
        metrics: Name → tensor to report, likewise.
        loss_weights: Name of a loss → its weight in the sum; 1 for those that are not named.
        outputs: What `predict` returns: a tensor or a nest of them. None: the losses and metrics.
        name: Name of the model.

    Raises:
        TypeError: `metrics` or `loss_weights` is no dictionary.
        ValueError: No loss; two things with one name, or a name that TensorFlow does not take; a
            weight for a loss that there is not.

    Example:
        >>> model = LossModel([x, y], {"error": ops.mean((net(x) - y) ** 2, -1)}, outputs=net(x))
        >>> model.compile("adam")
        >>> model.fit((xs, ys), validation_split=0.1)
        >>> model.predict((xs, ys))
    """

    def __init__(
        self,
        inputs: Any,
        losses: Mapping[str, Any],
        *,
        metrics: Mapping[str, Any] | None = None,
        loss_weights: Mapping[str, float] | None = None,
        outputs: Any = None,
        name: str | None = None,
    ) -> None:
        _check_mappings(metrics=metrics, loss_weights=loss_weights)
        metrics, loss_weights = dict(metrics or {}), dict(loss_weights or {})
        _check(losses, metrics, loss_weights)
        parts = {"losses": dict(losses), "metrics": metrics}
        if outputs is not None:
            parts["outputs"] = outputs
        super().__init__(inputs=inputs, outputs=parts, name=name)
        self.loss_weights = {one: float(loss_weights.get(one, 1.0)) for one in losses}
        self.reported = [keras.metrics.Mean(name=one) for one in (*losses, *metrics)]
        shown = parts if outputs is None else outputs
        self.shown = _Plain(keras.Model(inputs, shown), keras.Model(inputs, parts))

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """As every model's, without losses and metrics, which the model has itself.

        Raises:
            ValueError: `loss`, `metrics` or `loss_weights` is given.
        """
        for one in ("metrics", "weighted_metrics", "loss_weights"):
            loss = kwargs.get(one) if loss is None else loss
        if loss is not None:
            raise ValueError(
                f"A LossModel has its losses and metrics itself, received {loss!r}. Give them to "
                "`LossModel(inputs, losses, metrics=…, loss_weights=…)`; `compile` takes none."
            )
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The sum that is minimised; the names are entered into their metrics on the way."""
        if y is not None or sample_weight is not None:
            given = "`y`" if y is not None else "`sample_weight`"
            raise ValueError(
                f"A LossModel has no targets, so {given} has no meaning. Make it an input of the "
                "model, and pass all inputs as one: `model.fit((x, y))`."
            )
        named = {**y_pred["losses"], **y_pred["metrics"]}
        means = {one: ops.mean(ops.cast(value, "float32")) for one, value in named.items()}
        for metric in self.reported:
            metric.update_state(ops.stop_gradient(means[metric.name]), examples_in(Data(x)))
        total = sum(weight * means[one] for one, weight in self.loss_weights.items())
        return total + sum(ops.cast(ops.sum(one), "float32") for one in self.losses)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """The `outputs`, batch by batch, as NumPy arrays; as every model's `predict`."""
        return self.shown.model.predict(*args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """The `outputs` of one batch."""
        return self.shown.model.predict_on_batch(x)

    def get_config(self) -> dict[str, Any]:
        """The graph, and the weights of the losses."""
        graph = self.shown.graph.get_config()
        return {"name": self.name, "graph": graph, "loss_weights": self.loss_weights}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LossModel":
        """The model again."""
        graph = keras.Model.from_config(config["graph"], custom_objects=custom_objects)
        parts = dict(graph.output)
        losses = parts.pop("losses")
        return cls(
            graph.input, losses, loss_weights=config["loss_weights"], name=config["name"], **parts
        )


class _Plain:
    """Two plain models of the same layers; not an attribute that Keras would save a second time.

    Args:
        model: What `predict` runs.
        graph: The whole graph, which writes the config.
    """

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.graph = graph


def _check_mappings(**given: Any) -> None:
    for argument, value in given.items():
        if not isinstance(value, Mapping | None):
            raise TypeError(
                f"`{argument}` must be a dictionary with a name for each, received a "
                f"{type(value).__name__}: {{'error': …}}, for instance."
            )


def _check(losses: Any, metrics: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    if not isinstance(losses, Mapping) or not losses:
        raise ValueError(
            f"`losses` must be a dictionary, name → tensor, with one entry at least; received "
            f"{losses!r}. For one loss write `{{'error': tensor}}`."
        )
    for name in [*losses, *metrics]:
        if not isinstance(name, str) or not LEGAL.fullmatch(name) or name == "loss":
            raise ValueError(
                f"{name!r} cannot be the name of a loss or metric: 'loss' is the sum of all, and "
                "TensorFlow takes letters, digits and the signs _ . - / > only."
            )
    twice = sorted(set(losses) & set(metrics))
    if twice:
        raise ValueError(
            f"{twice[0]!r} is the name of a loss and of a metric, but only one of them can be "
            "reported as that. A loss is reported anyway; leave the metric out or rename it."
        )
    unknown = sorted(set(weights) - set(losses))
    if unknown:
        raise ValueError(
            f"`loss_weights` has {unknown[0]!r}, which is no loss. There are: {sorted(losses)}."
        )
