"""Second versions of a `call` that let out what the first one keeps to itself.

Two of Keras's layers hand their work to something out of which no value leads: attention to a fused
kernel that never has its scores in hand, and an RNN to a loop of the backend. Both can be asked to
compute the same in the open.
"""

import inspect
from collections.abc import Callable
from typing import Any


def with_scores(call: Callable[..., Any]) -> Callable[..., Any]:
    """Attention that computes its scores: Keras's fused version never has them in hand."""
    signature = inspect.signature(call)
    if "return_attention_scores" not in signature.parameters:
        return call

    def attend(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        wanted = arguments.pop("return_attention_scores", False)
        outputs = call(**arguments, return_attention_scores=True)
        return outputs if wanted else outputs[0]

    return attend


def unrolled(call: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    """The same `call` on a twin of an RNN, which Python runs through step by step."""
    twin = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin.__dict__.update(unroll=True, use_cudnn=False)
    function = getattr(call, "__func__", None)
    if function is None:
        raise ValueError(
            f"The `call` of {layer.name!r} was replaced by something that is not a method, so the "
            "layer cannot be unrolled, and what its cell computes cannot be captured."
        )
    on_twin: Callable[..., Any] = function.__get__(twin)
    return on_twin
