"""Settings: everything that decides how a model is built and trained, in one place.

`Settings` is a frozen dataclass.  Its fields are the flags of `kooler train` (`learning_rate` is
`--learning-rate`), its help texts are theirs, its defaults too, and `settings.json` in a run
directory is its dictionary: there is no second list.  A `Settings` object that exists is valid.
"""

import difflib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from kooler.seq2seq.sizes import SIZES, dimensions_of, sizes_in_words

ORDERS = ("l2r", "r2l", "mid")
BOTH = ("l2r", "r2l")  # what two streams write, and two recurrent decoders
LONGEST = 4000  # tokens; the model knows 4096 positions
VOCABULARY = 8000
SMALLEST_VOCABULARY = {"bpe": 263, "characters": 263, "words": 8}  # one piece to learn, see there
Rule = tuple[Callable[[Any], bool], str]


def _setting(default: Any, help: str, rule: Rule | None = None, may_change: bool = False) -> Any:
    """A field: its default, the text of `--help`, what a value must fulfil, and whether a resumed
    run may differ in it."""
    return field(default=default, metadata={"help": help, "rule": rule, "may_change": may_change})


def _one_of(*choices: str) -> Rule:
    return (lambda value: value in choices), "one of " + ", ".join(choices)


def _at_least(bound: float) -> Rule:
    return (lambda value: bound <= value < float("inf")), f"at least {bound}"


def _from_to(low: int, high: int) -> Rule:
    return (lambda value: low <= value <= high), f"from {low} to {high}"


def _above(bound: float) -> Rule:
    return (lambda value: bound < value < float("inf")), f"above {bound}"


def _share() -> Rule:
    return (lambda value: 0 <= value < 1), "at least 0 and below 1"


def _some_orders() -> Rule:
    def rule(value: tuple[str, ...]) -> bool:
        return bool(value) and set(value) <= set(ORDERS) and len(set(value)) == len(value)

    return rule, "a choice of l2r, r2l, mid, each once, separated by commas"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to build and train a model.  Every field can be left at its default.

    Example:
        >>> Settings(width=96, learning_rate=2e-3).updates
        10000

    Raises:
        ValueError: If a value does not fulfil its rule; the text names value, rule and way out.
    """

    size: str = _setting(
        "tiny",
        f"Size of the network: {sizes_in_words(VOCABULARY)}, with {VOCABULARY:,} tokens.",
        _one_of(*SIZES),
    )
    layers: int | None = _setting(
        None, "Layers of encoder and of decoder; as the size says if not given.", _at_least(1)
    )
    width: int | None = _setting(
        None, "Numbers per token inside the network; as the size says.", _at_least(2)
    )
    heads: int | None = _setting(
        None, "Attention heads, which divide the width; as the size says.", _at_least(1)
    )
    feedforward: int | None = _setting(
        None, "Width of the feed-forward layers; as the size says.", _at_least(1)
    )
    orders: tuple[str, ...] = _setting(
        ORDERS,
        "Orders in which the one network learns to write: from the left end, from the right end, "
        "from both ends to the middle.",
        _some_orders(),
    )
    architecture: str = _setting(
        "transformer",
        "One stream in any order; two streams at once, l2r and r2l, which see each other; or "
        "LSTMs, with one decoder for each direction.",
        _one_of("transformer", "synchronous", "recurrent"),
    )
    fusion: str = _setting(
        "tanh",
        "How a synchronous stream takes up the other one.",
        _one_of("tanh", "linear", "gate"),
    )
    fusion_weight: float = _setting(
        0.1, "Weight of the other stream, for tanh and linear.", _at_least(0)
    )
    leaky: bool = _setting(
        False, "Show the true title on the other side: a counter-example, see the leak meter."
    )
    loss_on: str = _setting(
        "gold",
        "Learn the true titles only, or also what the model wrote on the other side.",
        _one_of("gold", "both"),
    )
    decode_every: int = _setting(
        5, "Epochs after which a synchronous model writes its other streams anew.", _at_least(1)
    )
    norm: str = _setting(
        "post", "Layer normalisation after or before each block.", _one_of("post", "pre")
    )
    dropout: float = _setting(0.1, "Share of activations dropped in training.", _share())
    label_smoothing: float = _setting(
        0.1, "Share of the probability that the target spreads over the vocabulary.", _share()
    )
    r_drop: float = _setting(
        0.0,
        "R-Drop: weight of the difference between two passes with different dropout.",
        _at_least(0),
    )
    teacher: str | None = _setting(
        None, "Run directory of a model whose titles are learned instead of the true ones."
    )
    copy_prior: bool = _setting(
        False, "Raise the scores of tokens that occur in the source, by learned amounts."
    )
    pointer: bool = _setting(
        False,
        "Copy tokens of the source from where the model looks: what titles of texts need to be "
        "learned soon.",
    )
    neighbours: bool = _setting(
        False,
        "Read each token of the source together with those beside it: copying is learned sooner.",
    )
    order_sampling: str = _setting(
        "all",
        "Train every example in all orders at once, or in one that is drawn for it.",
        _one_of("all", "one"),
    )
    input_replacement: float = _setting(
        0.0,
        "Share of the tokens read by the decoder that are replaced in training by others of their "
        "title, in half of the titles; 0.3 in the literature.",
        _share(),
    )
    tokenizer: str = _setting(
        "bpe",
        "Pieces of text that become tokens: learned subwords, characters, or words.",
        _one_of("bpe", "characters", "words"),
    )
    lower_case: bool = _setting(
        False,
        "Read and learn everything in small letters; titles get their capitals from the text.",
    )
    vocabulary_size: int = _setting(
        VOCABULARY, "Largest number of different tokens, the six reserved ones included."
    )
    source_length: int = _setting(
        256, "Longest source in tokens; a longer one is cut.", _from_to(1, LONGEST)
    )
    target_length: int = _setting(64, "Longest target in tokens.", _from_to(1, LONGEST))
    batch_tokens: int = _setting(
        4096, "Most tokens in a batch, of both sides, padding included.", _at_least(1)
    )
    maximum_shapes: int = _setting(
        8, "Most shapes of batches; each is compiled once, fewer pad more.", _at_least(1)
    )
    updates: int = _setting(10000, "Stop after this many updates.", _at_least(1), may_change=True)
    minutes: float | None = _setting(
        None, "Stop after this many minutes of training.", _above(0), may_change=True
    )
    learning_rate: float = _setting(1e-3, "Highest learning rate.", _above(0))
    warmup: int = _setting(
        1000, "Updates during which the learning rate grows from 0.", _at_least(0)
    )
    schedule: str = _setting(
        "inverse_sqrt",
        "How the learning rate falls after the warm-up.",
        _one_of("inverse_sqrt", "cosine", "constant"),
    )
    clipnorm: float | None = _setting(
        1.0, "Largest norm of all gradients together; 0 clips nothing.", _at_least(0)
    )
    beta1: float = _setting(0.9, "Adam's decay of the mean gradient.", _share())
    beta2: float = _setting(0.98, "Adam's decay of the mean squared gradient.", _share())
    weight_decay: float = _setting(0.0, "Decoupled weight decay.", _at_least(0))
    average: int = _setting(
        5,
        "Average the weights of this many last checkpoints at the end; 1 averages nothing.",
        _at_least(1),
        may_change=True,
    )
    seed: int = _setting(0, "Seed of everything random.", _at_least(0))
    checkpoint_every: int = _setting(
        500, "Updates between two checkpoints.", _at_least(1), may_change=True
    )
    evaluate_every: int = _setting(
        500, "Updates between two evaluations on the dev set.", _at_least(1), may_change=True
    )
    patience: int = _setting(
        10,
        "Stop after this many evaluations without a better dev loss; 0 never stops.",
        _at_least(0),
        may_change=True,
    )
    precision: str = _setting(
        "float32",
        "Numbers of the computation; mixed_bfloat16 is for GPUs, and with PyTorch for CPUs that "
        "multiply such numbers (AMX).",
        _one_of("float32", "mixed_bfloat16"),
    )
    skip_bad_lines: bool = _setting(
        False, "Leave out lines that cannot be read, and count them, instead of stopping."
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            value = _converted(getattr(self, entry.name), hints[entry.name])
            object.__setattr__(self, entry.name, value)
            _check_value(entry, value, hints[entry.name])
        if self.architecture != "transformer" and self.orders == ORDERS:  # the default
            object.__setattr__(self, "orders", BOTH)
        _check_together(self)

    def to_dict(self) -> dict[str, Any]:
        """The settings as values that JSON knows."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """The settings of a dictionary, as `to_dict` makes it.

        Args:
            values: Names and values; a missing name takes its default.

        Raises:
            ValueError: If a name is unknown (the nearest known one is named) or a value is wrong.
        """
        known = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(_unknown(name, known))
        return cls(**values)

    def resumed_with(self, changes: Mapping[str, Any]) -> "Settings":
        """The settings of a run that continues, with the changes that do not alter its path.

        Args:
            changes: Names and new values; a value equal to the old one is no change.

        Raises:
            ValueError: If a setting would change that the trained weights depend on.
        """
        changed = replace(self, **changes)
        for entry in fields(self):
            old, new = getattr(self, entry.name), getattr(changed, entry.name)
            if old != new and not _may_change(entry, self.schedule):
                raise ValueError(
                    f"`{entry.name}` was {_shown(old)} when the run started, received "
                    f"{entry.name}={_shown(new)}, and cannot change in the middle. "
                    "Resume without it, or train in a fresh run directory."
                )
        return changed


def flag(name: str) -> str:
    """The command-line flag of a field: `learning_rate` → `--learning-rate`."""
    return "--" + name.replace("_", "-")


def _converted(value: Any, kind: Any) -> Any:
    """What JSON and the command line write differently: 1 for 1.0, "l2r,mid" for a tuple."""
    if float in _kinds(kind) and type(value) is int:
        return float(value)
    if tuple[str, ...] in _kinds(kind):
        return _names(value)
    return value


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(","))
    return tuple(value) if isinstance(value, Iterable) else value


def _kinds(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _check_value(entry: Field[Any], value: Any, kind: Any) -> None:
    if value is None and type(None) in _kinds(kind):
        return
    rule = entry.metadata["rule"]
    if not _has_kind(value, kind):
        raise ValueError(_wrong(entry, value, _in_words(kind)))
    if rule and not rule[0](value):
        raise ValueError(_wrong(entry, value, rule[1]))


def _has_kind(value: Any, kind: Any) -> bool:
    if tuple[str, ...] in _kinds(kind):
        return isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    return type(value) in _kinds(kind)  # `True` is no number here


def _in_words(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return next((words[part] for part in _kinds(kind) if part in words), "a list of texts")


def _wrong(entry: Field[Any], value: Any, rule: str) -> str:
    return (
        f"`{entry.name}` must be {rule}, received {entry.name}={_shown(value)}. "
        f"Its default is {_shown(entry.default)}."
    )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _check_together(settings: Settings) -> None:
    if settings.schedule == "cosine" and settings.warmup >= settings.updates:
        raise ValueError(
            f"`warmup` must be below `updates` with schedule=cosine, received "
            f"warmup={settings.warmup}, updates={settings.updates}. Shorten the warm-up."
        )
    if settings.architecture == "synchronous" and settings.orders != BOTH:
        raise ValueError(
            f"`orders` must be l2r,r2l with architecture=synchronous, received "
            f"orders={_shown(settings.orders)}. Leave it out."
        )
    if settings.leaky and settings.architecture == "transformer":
        raise ValueError(
            "`leaky` needs architecture=synchronous or recurrent, received "
            f"architecture={settings.architecture}. One stream has no other side."
        )
    if settings.architecture == "recurrent":
        _check_recurrent(settings)
    if settings.pointer and (settings.copy_prior or settings.architecture == "recurrent"):
        raise ValueError(
            "`pointer` takes the place of `copy_prior`, and needs the attention of a Transformer, "
            f"received copy_prior={settings.copy_prior}, architecture={settings.architecture}. "
            "Leave one of them out."
        )
    if settings.neighbours and settings.architecture == "recurrent":
        raise ValueError(
            "`neighbours` is for Transformers, received architecture=recurrent: an LSTM reads "
            "each token after its neighbour. Leave it out."
        )
    if settings.r_drop and not settings.dropout:
        raise ValueError(
            f"`r_drop` compares two passes with different dropout, received "
            f"r_drop={settings.r_drop}, dropout={settings.dropout}. Raise `dropout`."
        )
    smallest = SMALLEST_VOCABULARY[settings.tokenizer]
    if settings.vocabulary_size < smallest:
        raise ValueError(
            f"`vocabulary_size` must be at least {smallest} with tokenizer={settings.tokenizer}, "
            f"received vocabulary_size={settings.vocabulary_size}. "
            "Reserved ids and single bytes take the first places."
        )
    dimensions_of(settings.size, asdict(settings))


def _check_recurrent(settings: Settings) -> None:
    if "mid" in settings.orders:
        raise ValueError(
            f"`orders` must be of l2r, r2l with architecture=recurrent, received "
            f"orders={_shown(settings.orders)}. A step of mid reads two tokens, and a recurrent "
            "decoder one: leave it out, or take architecture=transformer."
        )
    if settings.leaky and (len(settings.orders) < 2 or settings.order_sampling != "all"):
        raise ValueError(
            "`leaky` needs both directions of each title at once, received "
            f"orders={_shown(settings.orders)}, order_sampling={settings.order_sampling}. "
            "Leave both out."
        )
    if settings.norm != "post" or settings.feedforward is not None:
        raise ValueError(
            "`norm` and `feedforward` are of the Transformer, received "
            f"norm={settings.norm}, feedforward={settings.feedforward} with "
            "architecture=recurrent. Leave them out."
        )
    width = dimensions_of(settings.size, asdict(settings))["width"]
    if width % 2:
        raise ValueError(
            f"`width` must be even with architecture=recurrent, received width={width}: half of "
            "it is read from each side."
        )


def _may_change(entry: Field[Any], schedule: str) -> bool:
    if entry.name == "updates" and schedule == "cosine":
        return False  # the cosine ends at the last update, so every step depends on it
    return bool(entry.metadata["may_change"])


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return (
        f"unknown setting `{name}`; the nearest known one is `{near[0]}`. "
        "Correct the name, or update kooler if a newer version wrote it."
    )
