"""Seq2Seq: one network that writes a target from the left, from the right, and from both ends.

One set of weights learns every generation order (see `order.py`); a start tag tells which.  The
model carries its own loss, the label-smoothed cross-entropy of every slot of every order,

    loss = Σ w · [ (1 − ε) · (−log p(z)) + ε · mean_v (−log p(v)) ]  /  Σ w,

with w = 1 for the tokens of a target and its EOS, so that a batch counts by its tokens and padding
changes nothing.  Embeddings are tied: one table reads the target and, transposed, scores it.  With
the optional copy prior the scores see which tokens the source contains,

    logits = (y + s ⊗ χ(source) + t) / 2,        χ(source)ᵥ = 1 if v occurs in the source,

with learned s and t (Su Jianlin's prior for title generation, https://kexue.fm/archives/5861).
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.ancestry import Ancestry, nobody_yet
from kooler.seq2seq.input_replacement import replaced
from kooler.seq2seq.model_checks import check_arguments, check_length
from kooler.seq2seq.neighbours import Neighbours
from kooler.seq2seq.order import ORDERS, Layout, layout, visible
from kooler.seq2seq.pointer import Pointer
from kooler.seq2seq.projection import projected, projection
from kooler.seq2seq.r_drop import difference, doubled
from kooler.seq2seq.reserved_ids import EOS, PAD, RESERVED
from kooler.seq2seq.sizes import POSITIONS, dimensions_of
from kooler.seq2seq.transformer import (
    MASKED,
    Cache,
    DecoderLayer,
    EncoderLayer,
    attend,
    layer_norm,
    sinusoids,
)
from kooler.seq2seq.vocabulary_loss import Sums, smoothed, vocabulary_sums


class Memory(NamedTuple):
    """A batch of sources, ready to be decoded."""

    layers: Any  # what each decoder layer sees of the source; a nest of tensors
    copyable: Tensor | None  # float [B, 1, 1, V]: 1 where the source has the token; or its ids


class Hidden(NamedTuple):
    """Whole streams as the decoder's last layer leaves them."""

    x: Tensor  # [B, R, L, D]
    attention: list[Tensor]  # of each layer to the source, [B, H, R·L, S]


@keras.saving.register_keras_serializable("kooler")
class Seq2Seq(keras.Model):
    """An encoder–decoder over token ids whose loss is inside.

    Ids 0 … 5 are reserved (padding, end, start tags); sizes of vocabularies count them.

    Args:
        source_vocabulary_size: Number of source ids.
        target_vocabulary_size: Number of target ids; None shares one vocabulary and one table.
        size: "tiny", "small" or "base"; `layers`, `width`, `heads`, `feedforward` override it.
        orders: The generation orders to learn.
        architecture: "transformer", or "recurrent" for LSTMs (see `recurrent.py`), which also take
            `leaky`.
        dropout: The rate of dropout.
        norm: "post" (layer normalisation after each part) or "pre".
        label_smoothing: ε, the share of the loss that is spread over all tokens.
        copy_prior: Whether the scores see which tokens the source contains.
        pointer: Whether tokens are copied from where the model looks (see `pointer.py`).
        neighbours: Whether each token of the source is read together with those beside it (see
            `neighbours.py`).
        r_drop: α of R-Drop (see `r_drop.py`); 0 does without.
        order_sampling: "all": every target in every order, each step; "one": in one, drawn at
            random.
        input_replacement: Share of the tokens that the decoder reads which are replaced in
            training, in half of the targets (see `input_replacement.py`); 0 replaces none.
        max_length: The longest target that `generate` writes unless told otherwise.

    Example:
        >>> model = Seq2Seq(1000, size="tiny")
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> model.fit({"source": source_ids, "target": target_ids})
    """

    own_settings: tuple[str, ...] = ()  # arguments that a subclass adds
    own_losses: tuple[str, ...] = ()  # and losses that it reports beside those of the orders
    architectures: tuple[str, ...] = ("transformer", "recurrent")

    def __new__(cls, *arguments: Any, **named: Any) -> "Seq2Seq":
        """Makes a `Seq2Seq`, or what another architecture has in its place."""
        if cls is Seq2Seq and named.get("architecture") == "recurrent":
            # a subclass, which imports this file
            from kooler.seq2seq.recurrent import RecurrentSeq2Seq

            cls = RecurrentSeq2Seq
        return super().__new__(cls, *arguments, **named)

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int | None = None,
        *,
        size: str = "tiny",
        orders: tuple[str, ...] = ORDERS,
        architecture: str = "transformer",
        name: str | None = None,
        layers: int | None = None,
        width: int | None = None,
        heads: int | None = None,
        feedforward: int | None = None,
        dropout: float = 0.1,
        norm: str = "post",
        label_smoothing: float = 0.1,
        copy_prior: bool = False,
        pointer: bool = False,
        neighbours: bool = False,
        r_drop: float = 0.0,
        order_sampling: str = "all",
        input_replacement: float = 0.0,
        max_length: int = 64,
        **arguments: Any,
    ) -> None:
        own = {key: arguments.pop(key) for key in self.own_settings}
        super().__init__(name=name, **arguments)
        self._config = {
            "source_vocabulary_size": source_vocabulary_size,
            "target_vocabulary_size": target_vocabulary_size,
            "size": size,
            "orders": tuple(orders),
            "architecture": architecture,
            "layers": layers,
            "width": width,
            "heads": heads,
            "feedforward": feedforward,
            "dropout": dropout,
            "norm": norm,
            "label_smoothing": label_smoothing,
            "copy_prior": copy_prior,
            "pointer": pointer,
            "neighbours": neighbours,
            "r_drop": r_drop,
            "order_sampling": order_sampling,
            "input_replacement": input_replacement,
            "max_length": max_length,
            **own,
        }
        check_arguments(self._config, self.architectures)
        self.orders = tuple(orders)
        self.architecture = architecture
        self.label_smoothing = label_smoothing
        self.copy_prior = copy_prior
        self.r_drop = r_drop
        self.norm = norm
        self.order_sampling = order_sampling
        self.input_replacement = input_replacement
        self.max_length = max_length
        self.source_vocabulary_size = source_vocabulary_size
        self.vocabulary_size = target_vocabulary_size or source_vocabulary_size
        self.dimensions = dimensions_of(size, self._config)
        self.pointer = Pointer(name="pointer") if pointer else None
        self.neighbours = Neighbours(name="neighbours") if neighbours else None
        self._make_layers(dropout, norm)
        self.order_seed = keras.random.SeedGenerator(0)
        if input_replacement:
            self.replacement_seed = keras.random.SeedGenerator(0)
        measured = (*self.orders, *self.own_losses)
        self.trackers = {name: keras.metrics.Mean(name=f"nll_{name}") for name in measured}
        self.build()

    def _make_layers(self, dropout: float, norm: str) -> None:
        width, heads = self.dimensions["width"], self.dimensions["heads"]
        parts = (width, heads, self.dimensions["feedforward"], dropout, norm)
        count = range(self.dimensions["layers"])
        self.encoder: list[Any] = [EncoderLayer(*parts, name=f"encoder_{index}") for index in count]
        self.decoder: list[Any] = [
            self._decoder_layer(parts, f"decoder_{index}") for index in count
        ]
        self.dropout = keras.layers.Dropout(dropout)
        self.final_norms: list[keras.layers.LayerNormalization] = []
        if norm == "pre":  # the stream of a pre-norm Transformer leaves its last layer unnormalised
            self.final_norms = [layer_norm("encoder_norm"), layer_norm("decoder_norm")]

    def _decoder_layer(self, parts: tuple[Any, ...], name: str) -> DecoderLayer:
        return DecoderLayer(*parts, name=name)

    def build(self, input_shape: Any = None) -> None:
        """Makes every weight; `__init__` calls it, so a model has its weights before any data."""
        size = self.vocabulary_size
        self.embeddings = self._table("embeddings", size)
        self.source_embeddings = self.embeddings
        if self._config["target_vocabulary_size"] is not None:
            self.source_embeddings = self._table("source_embeddings", self.source_vocabulary_size)
        self._build_positions()
        if self.copy_prior:
            self.prior_scale = self.add_weight(
                shape=(size,), initializer="zeros", name="prior_scale"
            )
            self.prior_shift = self.add_weight(
                shape=(size,), initializer="zeros", name="prior_shift"
            )
        self._build_layers()

    def _build_positions(self) -> None:
        shape = (2, self.dimensions["width"])
        self.sides = self.add_weight(shape=shape, initializer="zeros", name="sides")

    def _build_layers(self) -> None:
        for layer in (*self.encoder, *self.decoder, *self.final_norms):
            layer.build((None, self.dimensions["width"]))
        if self.pointer:
            self.pointer.build(self.dimensions["width"])
        if self.neighbours:
            self.neighbours.build(self.dimensions["width"])

    def _table(self, name: str, size: int) -> keras.Variable:
        width = self.dimensions["width"]
        normal = keras.initializers.RandomNormal(stddev=width**-0.5)
        return self.add_weight(shape=(size, width), initializer=normal, name=name)

    def encode(self, source: Tensor, training: bool = False) -> Memory:
        """Reads sources.

        Args:
            source: int32 [B, S] token ids, 0 pads.
            training: Whether dropout is on.
        """
        check_length("source", source.shape[1])
        # An empty source shows one padding token, so that its result does not depend on the others.
        first = ops.equal(ops.arange(ops.shape(source)[1]), 0)
        filled = ops.not_equal(source, PAD)
        mask = ops.logical_or(filled, first)[:, None, None, :]
        x = self._embedded(self.source_embeddings, source)
        if self.neighbours:
            x = self.neighbours.call(x, filled)
        x = x + self._position(ops.arange(ops.shape(source)[1], dtype="int32"), x.dtype)
        x = self.dropout.call(x, training=training)
        for layer in self.encoder:
            x = layer.call(x, mask, training=training)
        x = self._final(x, "encoder")
        return Memory([layer.source(x, mask) for layer in self.decoder], self._copyable(source))

    def decode(
        self, streams: Layout, memory: Memory, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores whole streams.

        Returns:
            Logits [B, R, L, V], and for each layer the attention to the source [B, H, R·L, S].
        """
        return self._scored(self.hidden(streams, memory, training), memory)

    def hidden(self, streams: Layout, memory: Memory, training: bool = False) -> Hidden:
        """What `decode` scores: the decoder's last layer."""
        time = self._flat(streams.time)
        return self._hidden(streams, visible(time, time)[:, None], memory, training)

    def _hidden(self, streams: Layout, mask: Any, memory: Memory, training: bool) -> Hidden:
        check_length("target", streams.inputs.shape[-1])
        shape = ops.shape(streams.inputs)  # [B, R, L]
        flat = (shape[0] * shape[1], shape[2])
        x = self._placed(streams.inputs, streams.time, streams.side)
        x = self.dropout.call(ops.reshape(x, (*flat, x.shape[-1])), training=training)
        attention = []
        for layer, source in zip(self.decoder, memory.layers, strict=True):
            x, weights = layer.call(x, mask, source, training=training)
            attention.append(weights)
        return Hidden(ops.reshape(self._final(x, "decoder"), (*shape, x.shape[-1])), attention)

    def _scored(self, hidden: Hidden, memory: Memory) -> tuple[Tensor, list[Tensor]]:
        """Logits, and where the decoder looked."""
        return self._logits(hidden.x, memory, hidden.attention[-1]), hidden.attention

    def _flat(self, field: Tensor) -> Tensor:
        """A field [B, R, L] of a layout as [B·R, L]."""
        batch, rows, slots = ops.shape(field)
        return ops.reshape(field, (batch * rows, slots))

    def looks_back(self, streams: Layout, memory: Memory) -> list[Tensor]:
        """Where each slot of whole streams looks among the slots up to its own step.

        Returns:
            For each layer the attention [B·R, H, L, L].
        """
        time = self._flat(streams.time)
        mask = visible(time, time)[:, None]
        x = self._placed(streams.inputs, streams.time, streams.side)
        x = ops.reshape(x, (*ops.shape(time), self.dimensions["width"]))
        attention = []
        for layer, source in zip(self.decoder, memory.layers, strict=True):
            query, key, value = layer.project(x)
            attention.append(attend(query, key, value, mask)[1])
            x, _ = layer.call(x, mask, source)
        return attention

    def empty_caches(self, rows: int, slots: int) -> Any:
        """Caches for `rows` streams of at most `slots` slots."""
        heads = self.dimensions["heads"]
        width, dtype = self.dimensions["width"] // heads, self.compute_dtype
        keys = ops.zeros((rows, heads, width, slots), dtype)
        values = ops.zeros((rows, heads, slots, width), dtype)
        return [Cache(keys, values) for _ in self.decoder]

    def step(
        self,
        inputs: Tensor,
        time: Tensor,
        sides: tuple[int, ...],
        caches: Any,
        memory: Memory,
    ) -> tuple[Tensor, Any]:
        """One step of every row, each with a cache of its own.

        Args:
            inputs: int32 [B, R, C], what the C slots of this step read.
            time: int32 scalar, the number of the step.
            sides: For each slot the end that it counts from.
            caches: What the earlier steps left, as `empty_caches` begins it.
            memory: The sources.

        Returns:
            Logits [B, R, C, V] and the caches with this step.
        """
        seen = ops.arange(caches[0].slots) < (time + 1) * inputs.shape[2]
        return self._stepped(inputs, time, sides, caches, seen, memory)

    def first_state(self, batch: int, places: int, steps: int, per_step: int) -> Any:
        """What a search of `places` hypotheses a sentence carries before its first step.

        It has room for `steps` steps of `per_step` slots, and `grown(steps)` gives it more.
        """
        caches = self.empty_caches(batch, steps * places * per_step)
        return Ancestry(caches, nobody_yet(batch, places, steps))

    def step_of_relatives(
        self,
        inputs: Tensor,
        time: Tensor,
        sides: tuple[int, ...],
        state: Any,
        memory: Memory,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """One step of every row; the rows of a sentence share its cache of K·C slots a step.

        There are K rows, or at the first step the first of them alone, which stands for all.
        With the `projection()` of the weights at hand, logits are [B, R, C, V′].
        """
        state = state.written(time)
        rows = inputs.shape[1] * inputs.shape[2]
        seen = state.readable(inputs.shape[2])[:, :, :rows]
        given = (inputs, time, sides, state.caches, seen, memory, projection)
        logits, caches = self._stepped(*given)
        return logits, state._replace(caches=caches)

    def _stepped(
        self,
        inputs: Tensor,
        time: Tensor,
        sides: tuple[Any, ...],
        caches: list[Cache],
        seen: Any,
        memory: Memory,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, list[Cache]]:
        batch, rows, slots = inputs.shape
        side = ops.convert_to_tensor(np.array(sides, "int32"))
        x = self._placed(inputs, ops.broadcast_to(time, (slots,)), side)
        streams = caches[0].keys.shape[0]  # B·R, or B where the rows of a sentence share one
        x = ops.reshape(x, (streams, batch * rows * slots // streams, -1))
        written = []
        for layer, cache, source in zip(self.decoder, caches, memory.layers, strict=True):
            x, cache, looks = layer.step(x, cache, time * x.shape[1], seen, source)
            written.append(cache)
        x = ops.reshape(self._final(x, "decoder"), (batch, rows, slots, -1))
        if projection is not None:
            return projected(x, projection), written
        return self._logits_of_step(x, memory, looks), written

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """The losses of a batch.

        With R-Drop a batch is put through twice in training (see `r_drop.py`).

        Args:
            inputs: "source" int32 [B, S] and "target" int32 [B, T], 0 pads, no EOS.
            training: Whether dropout is on and `order_sampling` applies.

        Returns:
            "nll", "loss" and "weight", each float32 [B, R, L], and "order", int32 [B, R]; B is
            twice the batch with R-Drop.
        """
        order = self._orders(ops.shape(inputs["source"])[0], training)
        twice = bool(training and self.r_drop)
        if twice:
            inputs = {name: doubled(ids) for name, ids in inputs.items()}
            order = order if order.shape[0] == 1 else doubled(order)
        source, target = inputs["source"], inputs["target"]
        streams = self._read(layout(ops.cast(target, "int32")[:, None, :], order), training)
        memory = self.encode(source, training)
        hidden = self._hidden_of_batch(streams, memory, training)
        nll, loss = self._slot_losses(hidden, memory, streams.targets, twice)
        present = ops.any(ops.not_equal(source, PAD), axis=-1)[:, None, None]
        weight = ops.where(present, streams.weight, 0.0)
        order = ops.broadcast_to(order, ops.shape(nll)[:2])
        return {"nll": nll, "loss": loss, "weight": weight, "order": order}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The mean loss of a batch's tokens; `y` and `sample_weight` are not used."""
        weight = y_pred["weight"]
        for order in self.orders:
            written = ops.equal(y_pred["order"], ORDERS.index(order))
            chosen = weight * ops.cast(written, "float32")[..., None]
            self._track(order, y_pred["nll"], chosen)
        weight = y_pred.get("loss_weight", weight)
        return ops.sum(y_pred["loss"] * weight) / ops.maximum(ops.sum(weight), 1.0)

    def _track(self, name: str, nll: Tensor, weight: Tensor) -> None:
        """Reports a mean loss."""
        count = ops.sum(weight)
        mean = ops.sum(nll * weight) / ops.maximum(count, 1.0)
        self.trackers[name].update_state(mean, sample_weight=count)

    def projection(self, ids: Tensor) -> Tensor:
        """What `projected` takes, for `step_of_relatives`, of the tokens `ids`; the first of them
        are the reserved ids.
        """
        table = ops.take(ops.cast(self.embeddings, self.compute_dtype), ids, axis=0)
        return projection(table, reserved_mask(ids.shape[0]))

    @property
    def writes_by_product(self) -> bool:
        """Whether logits are the product with `projection()`, and nothing comes behind it."""
        return not (self.pointer or self.copy_prior)

    @property
    def writes_together(self) -> bool:
        """Whether "best" is written in two directions at once, instead of one after the other."""
        return False

    def quantize(self, *arguments: Any, **named: Any) -> None:
        """Raises ValueError: steps read kernels as they are, and would misread eight bits."""
        raise ValueError(
            f"`quantize` is not for {type(self).__name__}, whose searches compute with the weights "
            "as they are. `export_ctranslate2` writes a model that runs in int8."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal model."""
        return {**super().get_config(), **self._config, "name": self.name}

    def _hidden_of_batch(self, streams: Layout, memory: Memory, training: bool) -> Hidden:
        """`hidden`, for the streams of a training batch."""
        return self.hidden(streams, memory, training)

    def _read(self, streams: Layout, training: bool) -> Layout:
        """Streams as the decoder reads them: in training some of the inputs are replaced."""
        if not (training and self.input_replacement):
            return streams
        return replaced(streams, self.input_replacement, self.replacement_seed)

    def _orders(self, batch: int, training: bool) -> Tensor:
        """int32 [1, R]: the model's orders, or [B, 1]: one of them for each target."""
        indices = np.array([ORDERS.index(order) for order in self.orders], "int32")
        if self.order_sampling == "all" or not training:
            return ops.convert_to_tensor(indices[None])
        drawn = keras.random.randint((batch, 1), 0, len(indices), seed=self.order_seed)
        return ops.take(ops.convert_to_tensor(indices), drawn)

    def nll(self, hidden: Hidden, memory: Memory, targets: Tensor) -> Tensor:
        """The negative log-likelihood of each slot's target, float32 [B, R, L]."""
        return self._slot_losses(hidden, memory, targets, False)[0]

    def _slot_losses(
        self, hidden: Hidden, memory: Memory, targets: Tensor, twice: bool
    ) -> tuple[Tensor, Tensor]:
        """The losses of each slot; of a batch that was put `twice` through, with R-Drop's."""
        if not (self.copy_prior or twice):
            sums = self._sums(hidden, memory, targets)
            return sums.nll, smoothed(sums.nll, sums.mean, self.label_smoothing)
        logits, _ = self._scored(hidden, memory)
        nll, loss = self._token_losses(logits, targets)
        return nll, loss + self.r_drop / 2 * difference(logits) if twice else loss

    def _sums(self, hidden: Hidden, memory: Memory, targets: Tensor) -> Sums:
        """What the losses of each slot are made of, without all logits."""
        table = ops.cast(self.embeddings, hidden.x.dtype)
        sums = vocabulary_sums(hidden.x, table, targets)
        if not self.pointer:
            return sums
        looks = hidden.attention[-1]
        return self.pointer.sums(sums, hidden.x, looks, memory.copyable, targets, table)

    def _token_losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood and label-smoothed loss of each slot, float32."""
        logits = ops.cast(logits, "float32")
        total = ops.logsumexp(logits, axis=-1)
        chosen = ops.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        nll = total - chosen
        allowed = ops.convert_to_tensor(1.0 - reserved_mask(self.vocabulary_size))
        mean = ops.matmul(logits, allowed[:, None])[..., 0] / ops.sum(allowed)
        return nll, nll + self.label_smoothing * (chosen - mean)

    def _embedded(self, table: keras.Variable, ids: Tensor) -> Tensor:
        return ops.take(table, ids, axis=0) * self.dimensions["width"] ** 0.5

    def _placed(self, inputs: Tensor, time: Tensor, side: Tensor) -> Tensor:
        """Embeddings of a stream with its signed positions."""
        x = self._embedded(self.embeddings, inputs) + ops.take(self.sides, side, axis=0)
        return x + self._position(time, x.dtype)

    def _position(self, time: Tensor, dtype: Any) -> Tensor:
        table = ops.convert_to_tensor(sinusoids(POSITIONS, self.dimensions["width"]))
        return ops.cast(ops.take(table, time, axis=0), dtype)

    def _final(self, x: Tensor, name: str) -> Tensor:
        if not self.final_norms:
            return x
        return self.final_norms[0 if name == "encoder" else 1].call(x)

    def _logits(self, x: Tensor, memory: Memory, looks: Tensor | None = None) -> Tensor:
        """Of streams [B, R, L, D]; `looks` is the attention [B, H, R·L, S] for the pointer."""
        return self._allowed(ops.matmul(x, self._projection(x.dtype)), x, memory, looks)

    def _logits_of_step(self, x: Tensor, memory: Memory, looks: Tensor) -> Tensor:
        """As `_logits`; few rows with more axes than two are slow on XLA's CPU."""
        logits = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), self._projection(x.dtype))
        logits = ops.reshape(logits, (*ops.shape(x)[:-1], -1))
        return self._allowed(logits, x, memory, looks)

    def _projection(self, dtype: Any) -> Tensor:
        return ops.transpose(ops.cast(self.embeddings, dtype))

    def _allowed(self, logits: Tensor, x: Tensor, memory: Memory, looks: Tensor | None) -> Tensor:
        """Logits with the copy prior or the pointer, and without the reserved ids."""
        if self.copy_prior:
            prior = self.prior_scale * memory.copyable + self.prior_shift
            logits = (logits + ops.cast(prior, logits.dtype)) / 2
        reserved = ops.convert_to_tensor(reserved_mask(self.vocabulary_size) * MASKED)
        logits = logits + ops.cast(reserved, logits.dtype)
        if not self.pointer:
            return logits
        return self.pointer.call(logits, x, looks, memory.copyable) + reserved

    def _copyable(self, source: Tensor) -> Tensor | None:
        """What the scores see of a source: for the pointer its ids, for the prior which tokens it
        contains, by one scatter into [B, V], without a one-hot."""
        if self.pointer:
            return ops.cast(source, "int32")
        if not self.copy_prior:
            return None
        batch, length = ops.shape(source)
        rows = ops.repeat(ops.arange(batch, dtype="int32"), length)
        index = ops.stack([rows, ops.reshape(ops.cast(source, "int32"), (-1,))], axis=-1)
        zeros = ops.zeros((batch, self.vocabulary_size))
        found = ops.scatter_update(zeros, index, ops.ones((batch * length,)))
        return found[:, None, None, :]


def reserved_mask(size: int) -> np.ndarray:
    """float32 [V]: 1 for the reserved ids that are never written; only EOS is."""
    mask = np.zeros(size, "float32")
    mask[:RESERVED] = 1.0
    mask[EOS] = 0.0
    return mask
