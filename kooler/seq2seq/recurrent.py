"""RecurrentSeq2Seq: the network of the series, LSTMs that read both ways and write one way each.

    source   embeddings → [LN → bidirectional LSTM] × n                 c = maximum over its tokens
    → y, ← y embeddings → [conditional LN(c) → LSTM] × n → conditional LN(c) = h
             LeakyReLU(W [h; attend(h, source)]) → scores, with the copy prior if wanted

`Seq2Seq(…, architecture="recurrent")` makes one.  The two directions have LSTMs, normalisations and
attention of their own, and share embeddings, scores and the copy prior.  The embeddings are tied as
in the Transformer; the series has a table more.  Positions need no table: the state counts.  It
writes `l2r` and `r2l`; `mid` reads two tokens a step, and these decoders one.

`leaky=True` is the counter-example of the series: on top, the decoders meet.  The state at t also
looks at what the other direction has read up to t, which in training is the true target:

    the token at slot t of n is among them  if and only if  t ≥ n/2,

⌊n/2⌋ of n tokens on both sides.  Such a model reads half of its answers off, and its two losses
add up to less than one direction needs: `nll_open` and `nll_shown` tell, and the leak meter
(`leak_meter.py`).  What it computes while it writes is no probability of anything, since the other
side is then what it writes itself; `step_of_all_pairs` takes the mean over all of that.

Su Jianlin: https://kexue.fm/archives/5861 (one direction), https://kexue.fm/archives/6877 (both).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.placing import placed
from kooler.core.types import Tensor
from kooler.layers import masked_max
from kooler.seq2seq.lstm import LSTMs, State
from kooler.seq2seq.model import Hidden, Memory, Seq2Seq
from kooler.seq2seq.order import ORDERS, SIDES, Layout, halves, visible
from kooler.seq2seq.recurrent_layer import BothWays, Direction, Read
from kooler.seq2seq.reserved_ids import EOS, PAD
from kooler.seq2seq.transformer import MASKED

DIRECTIONS = ("l2r", "r2l")


class Carried(NamedTuple):
    """What a search carries from step to step; every tensor has the rows of the search."""

    states: list[State]  # of each LSTM, [B·R, D]
    shown: list[Tensor]  # where decoders meet: keys and values for the other one [B·R, H, slots, d]

    def grown(self, steps: int) -> "Carried":
        """The same with room for `steps` steps; a state needs no more than it has."""
        longer = []
        for part in self.shown:
            longer.append(ops.pad(part, ((0, 0), (0, 0), (0, steps - part.shape[2]), (0, 0))))
        return self._replace(shown=longer)


class Met(NamedTuple):
    """Both directions of a search after a step."""

    states: Tensor  # [B, P, 1, C, D]
    keys: Tensor  # [B, C, P, H, slots, d], what each row shows the other direction
    values: Tensor  # the same
    there: Tensor  # bool [B, C, P]: whether the row is open
    seen: Tensor  # bool [B, C, P, 1, 1, slots]: the slots of it that may be looked at


@keras.saving.register_keras_serializable("kooler")
class RecurrentSeq2Seq(Seq2Seq):
    """A recurrent encoder–decoder.

    Args:
        source_vocabulary_size: Number of source ids.
        target_vocabulary_size: Number of target ids; None shares one vocabulary and one table.
        size: "tiny", "small" or "base"; `layers`, `width`, `heads` override it.
        orders: "l2r", "r2l" or both.
        leaky: Whether the decoders meet on top: a counter-example, not to be used.
        arguments: More of what `Seq2Seq` takes, but not `norm` and `feedforward`.

    Example:
        >>> model = Seq2Seq(1000, architecture="recurrent", layers=2, copy_prior=True)
    """

    own_settings = ("leaky",)
    own_losses = ("open", "shown")
    architectures = ("recurrent",)

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int | None = None,
        *,
        size: str = "tiny",
        orders: tuple[str, ...] = DIRECTIONS,
        architecture: str = "recurrent",
        leaky: bool = False,
        name: str | None = None,
        **arguments: Any,
    ) -> None:
        orders = DIRECTIONS if tuple(orders) == ORDERS else tuple(orders)  # the default of Seq2Seq
        _check(orders, leaky, arguments)
        super().__init__(
            source_vocabulary_size,
            target_vocabulary_size,
            size=size,
            orders=orders,
            architecture=architecture,
            leaky=leaky,
            name=name,
            **arguments,
        )
        self.leaky = leaky

    @property
    def writes_by_product(self) -> bool:
        """Never: a hidden layer and two directions stand before its logits."""
        return False

    @property
    def writes_together(self) -> bool:
        """Whether "best" is written in both directions at once."""
        return self.leaky

    def _make_layers(self, dropout: float, norm: str) -> None:
        width, heads, layers = (self.dimensions[name] for name in ("width", "heads", "layers"))
        if width % 2:
            raise ValueError(
                f"`width` must be even with architecture='recurrent', received {width}: half of it "
                "is read from each side."
            )
        self.sides_known = tuple(SIDES[order][0] for order in self.orders)
        meets, count = self._config["leaky"], range(layers)
        self.encoder = [BothWays(width, name=f"encoder_{index}") for index in count]
        self.decoder = [LSTMs(width, len(self.orders), name=f"decoder_{index}") for index in count]
        self.directions = [
            Direction(width, heads, layers, meets, name=order) for order in self.orders
        ]
        self.dropout = keras.layers.Dropout(dropout)

    def _build_positions(self) -> None:
        """None: a state counts for itself."""

    def _build_layers(self) -> None:
        width = self.dimensions["width"]
        for layer in self.encoder:
            layer.build((None, None, width))
        for layer in self.decoder:
            layer.build((None, None, len(self.orders), width))
        for direction in self.directions:
            direction.build((None, width))

    def encode(self, source: Tensor, training: bool = False) -> Memory:
        """Reads sources: int32 [B, S] token ids, 0 pads."""
        # An empty source shows one padding token, so that its result does not depend on the others.
        first = ops.equal(ops.arange(ops.shape(source)[1]), 0)
        mask = ops.logical_or(ops.not_equal(source, PAD), first)  # [B, S]
        lengths = ops.sum(ops.cast(mask, "int32"), axis=1)
        x = self._embedded(self.source_embeddings, source)
        for layer in self.encoder:
            x = layer.call(self.dropout.call(x, training=training), lengths)
        seen = mask[:, None, None, :]
        read = Read(masked_max(x, mask), [part.source(x, seen) for part in self.directions])
        return Memory(read, self._copyable(source))

    def hidden(self, streams: Layout, memory: Memory, training: bool = False) -> Hidden:
        """What `decode` scores, each stream alone: every decoder runs over all, and the one of the
        stream's own direction counts.
        """
        x = self._embedded(self.embeddings, streams.inputs)
        x = ops.stack([x] * len(self.orders), axis=3)  # [B, R, L, C, D]
        states = self._states(x, memory.layers, training)
        written, looks = self._written(states, memory.layers, None, training)
        if len(written) == 1:
            return Hidden(written[0], looks)
        second = ops.equal(streams.side, self.sides_known[1])  # [B, R, L]
        flat = ops.reshape(second, (ops.shape(second)[0], 1, -1, 1))
        x = ops.where(second[..., None], written[1], written[0])
        return Hidden(x, [ops.where(flat, looks[1], looks[0])])

    def decode_together(
        self, streams: Layout, memory: Memory, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores pairs of streams: the first half of the rows from the left, the second from the
        right; where decoders meet, row i of one half looks at row i of the other.
        """
        return self._scored(self.hidden_together(streams, memory, training), memory)

    def hidden_together(self, streams: Layout, memory: Memory, training: bool = False) -> Hidden:
        """What `decode_together` scores."""
        x = self._in_pairs(self._embedded(self.embeddings, streams.inputs))
        states = self._states(x, memory.layers, training)
        others = self._others(states, streams) if self.leaky else None
        written, looks = self._written(states, memory.layers, others, training)
        return Hidden(ops.concatenate(written, axis=1), [ops.concatenate(looks, axis=2)])

    def looks_back(self, streams: Layout, memory: Memory) -> list[Tensor]:
        """Nowhere: a recurrent decoder has its past in its state.  Zeros [B·R, H, L, L]."""
        batch, rows, slots = ops.shape(streams.inputs)
        return [ops.zeros((batch * rows, self.dimensions["heads"], slots, slots))]

    def empty_caches(self, rows: int, slots: int) -> Carried:
        """What a search of `rows` streams of at most `slots` slots begins with."""
        width, heads = self.dimensions["width"], self.dimensions["heads"]
        dtype = self.compute_dtype
        state = (rows, width)
        shown = (rows, heads, slots, width // heads)
        return Carried(
            [State(ops.zeros(state, dtype), ops.zeros(state, dtype)) for _ in self.decoder],
            [ops.zeros(shown, dtype) for _ in range(2 if self.leaky else 0)],
        )

    def first_state(self, batch: int, places: int, steps: int, per_step: int) -> Carried:
        """As `Seq2Seq.first_state`; a state is small, so it follows its hypothesis."""
        return self.empty_caches(batch * places, steps * per_step)

    def step_of_relatives(
        self,
        inputs: Tensor,
        time: Tensor,
        sides: tuple[int, ...],
        state: Carried,
        memory: Memory,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Carried]:
        """`step`: nothing is shared between the hypotheses of a sentence, nor made before it."""
        return self.step(inputs, time, sides, state, memory)

    def step(
        self,
        inputs: Tensor,
        time: Tensor,
        sides: tuple[int, ...],
        caches: Carried,
        memory: Memory,
    ) -> tuple[Tensor, Carried]:
        """One step of every row, alone; the arguments are those of `Seq2Seq.step`."""
        which = (self.sides_known.index(sides[0]),)
        states, caches = self._advanced(inputs, caches, memory.layers, which)
        written, _ = self._written(states, memory.layers, None, False, which)
        return self._logits(written[0], memory), caches

    def step_together(
        self, inputs: Tensor, time: Tensor, caches: Carried, memory: Memory
    ) -> tuple[Tensor, Carried]:
        """One step of every pair: the rows of equal rank look at each other; beside a place that
        reads padding, a row goes on alone.

        Args:
            inputs: int32 [B, R, 1], the first half of the rows from the left.
            time: int32 scalar, the number of the step.
            caches: What the earlier steps left.
            memory: The sources.

        Returns:
            Logits [B, R, 1, V] and the caches with this step.
        """
        met, caches = self._met(inputs, time, caches, memory.layers)
        others = []
        for side, direction in enumerate(self.directions):
            shown = (part[:, 1 - side] for part in (met.keys, met.values, met.seen))
            others.append(direction.look_at_other(met.states[..., side, :], *shown))
        written, _ = self._written(met.states, memory.layers, others, False)
        return self._logits(ops.concatenate(written, axis=1), memory), caches

    def step_of_all_pairs(
        self, inputs: Tensor, time: Tensor, caches: Carried, memory: Memory
    ) -> tuple[Tensor, Carried]:
        """One step of every row beside each open row of the other direction.

            p(token)  =  mean over the partners of p(token | partner),

        as in the series; the arguments are those of `step_together`.

        Returns:
            log p [B, R, 1, V] and the caches with this step.
        """
        met, caches = self._met(inputs, time, caches, memory.layers)
        means = []
        for side, direction in enumerate(self.directions):
            own = met.states[..., side, :]  # [B, P, 1, D]
            found, _ = direction.look_at_source(own, memory.layers.sources[side])
            shown = (part[:, 1 - side][:, None] for part in (met.keys, met.values, met.seen))
            other = direction.look_at_other(own[:, :, None], *shown)[:, :, :, 0]  # [B, P, P′, D]
            parts = [ops.broadcast_to(part, other.shape) for part in (own, found)]
            logits = self._logits(direction.write(*parts, other), memory)  # [B, P, P′, V]
            means.append(mean_of(logits, met.there[:, 1 - side]))
        return ops.concatenate(means, axis=1)[:, :, None], caches

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

    def _hidden_of_batch(self, streams: Layout, memory: Memory, training: bool) -> Hidden:
        """The streams of a training batch: with both directions of each target, they are pairs."""
        both = streams.inputs.shape[1] == len(DIRECTIONS) == len(self.orders)
        return (self.hidden_together if both else self.hidden)(streams, memory, training)

    def _in_pairs(self, x: Tensor) -> Tensor:
        """Rows [B, C·P, L, D], one direction after the other, as [B, P, L, C, D]."""
        shape = ops.shape(x)
        sides = len(self.orders)
        x = ops.reshape(x, (shape[0], sides, shape[1] // sides, *shape[2:]))
        return ops.transpose(x, (0, 2, 3, 1, 4))

    def _states(self, x: Tensor, read: Read, training: bool) -> Tensor:
        """The states of whole streams [B, P, L, C, D]."""
        shape = ops.shape(x)
        for index, lstms in enumerate(self.decoder):
            x = self.dropout.call(self._normed(index, x, read.summary), training=training)
            x = ops.reshape(lstms.call(ops.reshape(x, (-1, *shape[2:]))), shape)
        return self._normed(len(self.decoder), x, read.summary)

    def _normed(
        self, index: int, x: Tensor, summary: Tensor, which: tuple[int, ...] | None = None
    ) -> Tensor:
        """Streams [B, P, L, C, D] normalised under the condition of their sources."""
        chosen = self.directions if which is None else [self.directions[side] for side in which]
        parts = [
            direction.norms[index].call(x[..., place, :], summary)
            for place, direction in enumerate(chosen)
        ]
        return ops.stack(parts, axis=-2)

    def _written(
        self,
        states: Tensor,
        read: Read,
        others: list[Tensor] | None,
        training: bool,
        which: tuple[int, ...] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each direction what it comes to [B, P, L, D], and its attention [B, H, P·L, S]."""
        written, looks = [], []
        for place, side in enumerate(which or range(len(self.directions))):
            own = states[..., place, :]
            found, weights = self.directions[side].look_at_source(own, read.sources[side])
            parts = [own, found]
            if self.leaky:
                parts.append(ops.zeros_like(own) if others is None else others[place])
            y = self.directions[side].write(*parts)
            written.append(self.dropout.call(y, training=training))
            looks.append(weights)
        return written, looks

    def _others(self, states: Tensor, streams: Layout) -> list[Tensor]:
        """What each direction finds in the other's states up to its own step, [B, P, L, D]."""
        time = streams.time[:, :1]
        upto = visible(time, time)[:, :, None]  # [B, 1, 1, L, L]
        reads = ops.logical_and(
            ops.not_equal(streams.inputs, PAD), ops.not_equal(streams.inputs, EOS)
        )
        reads = self._in_pairs(reads[..., None])[..., 0]  # [B, P, L, C]
        found = []
        for side, direction in enumerate(self.directions):
            seen = ops.logical_and(upto, reads[..., 1 - side][:, :, None, None, :])
            shown = direction.shows(states[..., 1 - side, :])
            found.append(direction.look_at_other(states[..., side, :], *shown, seen))
        return found

    def _advanced(
        self, inputs: Tensor, caches: Carried, read: Read, which: tuple[int, ...]
    ) -> tuple[Tensor, Carried]:
        """One step of the LSTMs of some directions: their states [B, P, 1, C′, D]."""
        batch, rows, _ = inputs.shape
        sides, width = len(which), self.dimensions["width"]
        pairs = rows // sides
        outside, inside = (batch, sides, pairs, width), (batch, pairs, sides, width)
        x = ops.reshape(self._embedded(self.embeddings, inputs), outside)
        x = ops.transpose(x, (0, 2, 1, 3))[:, :, None]  # [B, P, 1, C′, D]
        written = []
        for index, (lstms, rows_of) in enumerate(zip(self.decoder, caches.states, strict=True)):
            x = self._normed(index, x, read.summary, which)
            state = State(*(_turned(part, outside, (-1, sides, width)) for part in rows_of))
            state = lstms.step(ops.reshape(x, (-1, sides, width)), state, which)
            x = ops.reshape(state.hidden, (batch, pairs, 1, sides, width))
            written.append(State(*(_turned(part, inside, (-1, width)) for part in state)))
        x = self._normed(len(self.decoder), x, read.summary, which)
        return x, caches._replace(states=written)

    def _met(
        self, inputs: Tensor, time: Tensor, caches: Carried, read: Read
    ) -> tuple[Met, Carried]:
        """One step of both directions, and what they show each other."""
        states, caches = self._advanced(inputs, caches, read, (0, 1))
        shown = [self.directions[1 - side].shows(states[..., side, :]) for side in (0, 1)]
        parts = []
        for earlier, new in zip(caches.shown, zip(*shown, strict=True), strict=True):
            rows = ops.stack(new, axis=1)  # [B, C, P, H, 1, d]
            rows = ops.reshape(rows, (-1, *rows.shape[3:]))
            parts.append(placed(earlier, rows, time, 2))
        batch, rows_of, _ = inputs.shape
        by_side = (batch, 2, rows_of // 2)
        there = ops.reshape(ops.not_equal(inputs, PAD), by_side)
        upto = ops.arange(parts[0].shape[2], dtype="int32") <= time
        keys, values = (ops.reshape(part, (*by_side, *part.shape[1:])) for part in parts)
        seen = ops.logical_and(there[..., None, None, None], upto)
        return Met(states, keys, values, there, seen), caches._replace(shown=parts)


def mean_of(logits: Tensor, there: Tensor) -> Tensor:
    """Logarithm of the mean probability over the partners that are there, or over all if none is.

    Args:
        logits: [B, P, P′, V].
        there: bool [B, P′].
    """
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    there = there[:, None, :, None]
    there = ops.logical_or(there, ops.logical_not(ops.any(there, axis=2, keepdims=True)))
    count = ops.sum(ops.cast(there, "float32"), axis=2)
    return ops.logsumexp(ops.where(there, log_probs, 2 * MASKED), axis=2) - ops.log(count)


def _turned(rows: Tensor, shape: tuple[int, ...], flat: tuple[int, ...]) -> Tensor:
    """Rows of `shape` with its second and third axis exchanged, then made `flat`."""
    return ops.reshape(ops.transpose(ops.reshape(rows, shape), (0, 2, 1, 3)), flat)


def _check(orders: tuple[str, ...], leaky: bool, arguments: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting that a recurrent network has no place for."""
    if "mid" in orders:
        raise ValueError(
            f"`orders` must be of l2r, r2l with architecture='recurrent', received {orders!r}. A "
            "step of mid reads two tokens, and a recurrent decoder one: leave it out, or take "
            "architecture='transformer'."
        )
    if leaky and (len(orders) < 2 or arguments.get("order_sampling", "all") != "all"):
        raise ValueError(
            "`leaky` needs both directions of each target at once, received "
            f"orders={orders!r}, order_sampling={arguments.get('order_sampling', 'all')!r}. "
            "Leave both out."
        )
    for name, neutral in (("norm", "post"), ("feedforward", None)):
        if arguments.get(name, neutral) != neutral:
            raise ValueError(
                f"`{name}` is of the Transformer, received {name}={arguments[name]!r} with "
                "architecture='recurrent'. Leave it out."
            )
