"""SynchronousBidirectional: two full-length streams that see each other while they are written.

One stream writes the whole target from the left, the other writes it from the right, in step and
with the same weights; at time t either sees what both have written before t (see
`synchronous_layer.py`).

The other stream must not be the truth.  From the middle on it already holds what this stream must
predict: of the n tokens, those at the slots t ≥ n/2, ⌊n/2⌋ of them.  A model that is trained on the
true target on both sides reads its answers off, and cannot write.  So it is trained in two passes:

    first     each stream alone
    second    the triples  (x, → y, ← ŷ)  and  (x, → ŷ, ← y),  ŷ written by the model itself

where the loss counts the true side (`loss_on="gold"`) or both (`"both"`, as the authors' code
does, which also trains on ŷ as in a distillation).  Given the other stream, the probabilities of
all targets sum to one.

Three faults of the authors' code are not repeated: the tag that tells the direction is read, never
predicted; what follows the end of a stream is not shown to the other; and a search ends by both
directions (`synchronous_search.py`).

`leaky=True` is the counter-example, true targets on both sides, as in the series
(https://kexue.fm/archives/6877).  The metrics tell: `nll_shown` is the loss of the tokens whose
answer a true other stream would show, `nll_open` of the others; a leak drives the first to zero.

Zhou, Zhang, Zong, "Synchronous Bidirectional Neural Machine Translation", TACL 2019,
https://arxiv.org/abs/1905.04847
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.model import Hidden, Memory, Seq2Seq
from kooler.seq2seq.model_checks import check_choice
from kooler.seq2seq.order import ORDERS, Layout, halves, layout, visible
from kooler.seq2seq.r_drop import doubled
from kooler.seq2seq.reserved_ids import EOS, PAD
from kooler.seq2seq.synchronous_layer import FUSIONS, Seen, SynchronousDecoderLayer, swapped
from kooler.seq2seq.transformer import Cache

DECODED = ("decoded_l2r", "decoded_r2l")  # names of what the model itself wrote


@keras.saving.register_keras_serializable("kooler")
class SynchronousBidirectional(Seq2Seq):
    """An encoder–decoder whose two directions are written together.

    Args:
        source_vocabulary_size: Number of source ids.
        target_vocabulary_size: Number of target ids; None shares one vocabulary and one table.
        size: "tiny", "small" or "base".
        fusion: "tanh", "linear" or "gate".
        fusion_weight: λ of `tanh` and `linear`.
        leaky: Whether the other stream is the true target: a counter-example, not to be used.
        loss_on: "gold", or "both" to learn what the model wrote as well.
        arguments: More of what `Seq2Seq` takes: `dropout`, `norm`, `layers`, …

    Example:
        >>> model = SynchronousBidirectional(1000)
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> model.fit({"source": source_ids, "target": target_ids})  # the first pass
        >>> decoded = decode_both(model, source_ids)  # and the second
        >>> model.fit({"source": source_ids, "target": target_ids, **decoded})
        >>> generate(model, source_ids, order="best", beam_size=4)
    """

    own_settings = ("fusion", "fusion_weight", "leaky", "loss_on")
    own_losses = ("open", "shown")
    architectures = ("transformer",)

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int | None = None,
        *,
        size: str = "tiny",
        fusion: str = "tanh",
        fusion_weight: float = 0.1,
        leaky: bool = False,
        loss_on: str = "gold",
        name: str | None = None,
        **arguments: Any,
    ) -> None:
        check_choice("fusion", fusion, FUSIONS)
        check_choice("loss_on", loss_on, ("gold", "both"))
        super().__init__(
            source_vocabulary_size,
            target_vocabulary_size,
            size=size,
            orders=("l2r", "r2l"),
            name=name,
            fusion=fusion,
            fusion_weight=fusion_weight,
            leaky=leaky,
            loss_on=loss_on,
            **arguments,
        )
        self.leaky, self.loss_on = leaky, loss_on

    @property
    def writes_together(self) -> bool:
        """Always: "best" is written in both directions at once."""
        return True

    def _decoder_layer(self, parts: tuple[Any, ...], name: str) -> SynchronousDecoderLayer:
        fusion, weight = self._config["fusion"], self._config["fusion_weight"]
        return SynchronousDecoderLayer(*parts, fusion=fusion, fusion_weight=weight, name=name)

    def decode_together(
        self, streams: Layout, memory: Memory, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores pairs of streams: the first half of the rows from the left, the second from the
        right, row i of one half beside row i of the other.  `decode` scores each of them alone.
        """
        return self._scored(self.hidden_together(streams, memory, training), memory)

    def hidden_together(self, streams: Layout, memory: Memory, training: bool = False) -> Hidden:
        """What `decode_together` scores: the decoder's last layer."""
        pairs = streams.inputs.shape[1] // 2
        time, inputs = self._flat(streams.time), self._flat(streams.inputs)
        own = visible(time, time)[:, None]
        written = ops.logical_and(ops.not_equal(inputs, PAD), ops.not_equal(inputs, EOS))
        other = ops.logical_and(own, swapped(written, pairs)[:, None, None, :])
        return self._hidden(streams, Seen(own, other, pairs), memory, training)

    def step_together(
        self, inputs: Tensor, time: Tensor, caches: list[Cache], memory: Memory
    ) -> tuple[Tensor, list[Cache]]:
        """One step of every pair; beside a place that reads padding, a stream goes on alone.

        Args:
            inputs: int32 [B, R, 1], the first half of the rows from the left.
            time: int32 scalar, the number of the step.
            caches: Keys and values of the earlier steps.
            memory: The sources.

        Returns:
            Logits [B, R, 1, V] and the caches with this step.
        """
        batch, rows, _ = inputs.shape
        own = (ops.arange(caches[0].slots) <= time)[None, None, None, :]
        there = ops.reshape(ops.not_equal(inputs, PAD), (batch * rows, 1, 1, 1))
        seen = Seen(own, ops.logical_and(own, swapped(there, rows // 2)), rows // 2)
        sides = tuple((row // (rows // 2),) for row in range(rows))
        return self._stepped(inputs, time, sides, caches, seen, memory)

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            inputs: "source" int32 [B, S] and "target" int32 [B, T], 0 pads, no EOS; and, in the
                second pass, "decoded_l2r" and "decoded_r2l" [B, T′] with what the model wrote, in
                the order of reading.
            training: Whether dropout is on.

        Returns:
            What `Seq2Seq.call` returns, and where `loss_on="both"` the "loss_weight" of each slot.
        """
        if not self.leaky and DECODED[0] not in inputs:
            return super().call(inputs, training)
        twice = bool(training and self.r_drop)
        if twice:
            inputs = {name: doubled(ids) for name, ids in inputs.items()}
        targets, order, gold = self._pairs(inputs)
        streams = self._read(layout(targets, order), training)
        memory = self.encode(inputs["source"], training)
        hidden = self.hidden_together(streams, memory, training)
        nll, loss = self._slot_losses(hidden, memory, streams.targets, twice)
        present = ops.any(ops.not_equal(inputs["source"], PAD), axis=-1)[:, None, None]
        weight = ops.where(present, streams.weight, 0.0)
        parts = {"nll": nll, "loss": loss, "weight": weight * gold}
        if self.loss_on == "both":
            parts["loss_weight"] = weight
        shape = ops.shape(nll)[:2]
        return {**parts, "order": ops.broadcast_to(order, shape)}

    def _pairs(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Targets [B, R, T], the index [1, R] of each row's order, and [1, R, 1] what is true."""
        given = [inputs[name] for name in ("target", *DECODED) if name in inputs]
        target, *decoded = _equally_wide([ops.cast(ids, "int32") for ids in given])
        left, right = ORDERS.index("l2r"), ORDERS.index("r2l")
        if self.leaky:
            rows, order, gold = [target, target], [left, right], [1, 1]
        else:
            rows = [target, *decoded, target]
            order, gold = [left, left, right, right], [1, 0, 0, 1]
        orders = ops.convert_to_tensor(np.array([order], "int32"))
        true = ops.convert_to_tensor(np.array(gold, "float32")[None, :, None])
        return ops.stack(rows, axis=1), orders, true

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The mean loss of a batch's tokens; `y` and `sample_weight` are not used."""
        for part, chosen in zip(self.own_losses, halves(y_pred["weight"]), strict=True):
            self._track(part, y_pred["nll"], chosen)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal model."""
        config = super().get_config()
        return {key: config[key] for key in config if key not in ("orders", "order_sampling")}


def _equally_wide(rows: list[Tensor]) -> list[Tensor]:
    """Ids [B, T] padded to the longest T."""
    widths = [ids.shape[1] for ids in rows]
    if None in widths:  # TensorFlow may not know them yet; then they must be equal already
        return rows
    return [
        ops.pad(ids, ((0, 0), (0, max(widths) - width)))
        for ids, width in zip(rows, widths, strict=True)
    ]
