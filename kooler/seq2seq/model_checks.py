"""Which arguments make no model: refused with the value, the rule and the way out."""

from typing import Any

from kooler.seq2seq.order import check_order
from kooler.seq2seq.reserved_ids import RESERVED
from kooler.seq2seq.sizes import POSITIONS, SIZES, dimensions_of


def check_length(name: str, length: int | None) -> None:
    """Raises ValueError for a stream that leaves the position table, where backends read NaN."""
    if length is not None and length > POSITIONS:
        raise ValueError(
            f"`{name}` must take at most {POSITIONS} places, padding and end included, "
            f"received {length}. Cut it."
        )


def check_arguments(config: dict[str, Any], architectures: tuple[str, ...]) -> None:
    """Raises ValueError for a setting that makes no model."""
    for name in ("source_vocabulary_size", "target_vocabulary_size"):
        if config[name] is not None and config[name] <= RESERVED:
            raise ValueError(
                f"`{name}` must be more than the {RESERVED} reserved ids, received {config[name]}."
            )
    check_choice("size", config["size"], tuple(SIZES))
    check_choice("architecture", config["architecture"], architectures)
    check_choice("norm", config["norm"], ("post", "pre"))
    check_choice("order_sampling", config["order_sampling"], ("all", "one"))
    if not config["orders"] or len(set(config["orders"])) != len(config["orders"]):
        raise ValueError(
            f"`orders` must name each order at most once and at least one, "
            f"received orders={config['orders']!r}."
        )
    for order in config["orders"]:
        check_order(order)
    for name in ("copy_prior", "pointer"):
        if config[name] and config["target_vocabulary_size"] is not None:
            raise ValueError(
                f"`{name}` needs one vocabulary for source and target, received "
                f"target_vocabulary_size={config['target_vocabulary_size']}. Leave it out to share."
            )
    if config["pointer"] and (config["copy_prior"] or config["architecture"] == "recurrent"):
        raise ValueError(
            "`pointer` takes the place of `copy_prior`, and needs the attention of a Transformer, "
            f"received copy_prior={config['copy_prior']}, architecture={config['architecture']!r}. "
            "Leave one of them out."
        )
    if config["neighbours"] and config["architecture"] == "recurrent":
        raise ValueError(
            "`neighbours` is for Transformers, received architecture='recurrent': an LSTM reads "
            "each token after its neighbour. Leave it out."
        )
    if config["r_drop"] < 0:
        raise ValueError(f"`r_drop` must be at least 0, received r_drop={config['r_drop']}.")
    if not 0 <= config["input_replacement"] < 1:
        raise ValueError(
            "`input_replacement` must be at least 0 and below 1, received "
            f"input_replacement={config['input_replacement']}."
        )
    dimensions_of(config["size"], config)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}, received {name}={value!r}."
        )
