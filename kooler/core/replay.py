"""A function of tensors that is called over and over: on PyTorch recorded once, and then replayed.

JAX and TensorFlow compile.  PyTorch runs Keras operation by operation, and what Keras does around
each of them (dtypes, trees, devices) takes several times as long as a small operation itself.  So
after some calls with tensors of the same shapes one call is recorded as the list of PyTorch's
operations (`torch.fx`), and from then on these alone are called, to the same bits: a step of a
search for one sentence took 12 ms, of which PyTorch itself needs 3.

    calls 1 … 127 of a shape     the function itself
    call 128                     recorded, which takes about a second
    later calls                  replayed

In a recording

- the arguments are the only tensors that may differ from call to call;
- weights of Keras are read where they are, so that new values count;
- every other tensor is a constant, and what depends on constants alone is computed once.

A function that asks for the value of a tensor (`if`, `int`) cannot be recorded: it stays as it is,
with a warning that tells what PyTorch said.
"""

import contextvars
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from kooler.core.types import Tensor

CALLS = 128  # with the same shapes, until a recording saves the second that it takes

_calls: contextvars.ContextVar[int] = contextvars.ContextVar("calls", default=CALLS)

Function = Callable[..., list[Tensor]]


def replays() -> bool:
    """Whether functions are replayed: on PyTorch, since the other backends compile."""
    return keras.backend.backend() == "torch"


def records_at_once() -> bool:
    """Whether it is inside of `recorded_at_once`."""
    return _calls.get() == 1


def replayed(function: Function) -> Function:
    """`function` as it is where it is going to be compiled, and else a `Replayed` one."""
    return Replayed(function) if replays() else function


@contextmanager
def recorded_at_once() -> Iterator[None]:
    """Functions that are called inside are recorded at their first call of a shape."""
    token = _calls.set(1)
    try:
        yield
    finally:
        _calls.reset(token)


class Replayed:
    """A function that is recorded once it is called often.

    Args:
        function: Takes tensors, all that may differ from call to call, and returns a list of them.

    Example:
        >>> step = Replayed(lambda x: [x * 2])
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._counts: Counter[Any] = Counter()
        self._recorded: dict[Any, Function] = {}

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """The function's result."""
        return self.prepared(*tensors)(*tensors)

    def prepared(self, *tensors: Tensor) -> Function:
        """What this call would run; a call counts, also if nothing is run."""
        key = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
        key = (tensors[0].device, *key)
        if key in self._recorded:
            return self._recorded[key]
        self._counts[key] += 1
        if self._counts[key] < _calls.get():
            return self.function
        self._recorded[key] = _recorded(self.function, tensors)
        return self._recorded[key]


def _recorded(function: Function, tensors: Sequence[Tensor]) -> Function:
    """The operations of a call with such tensors; `function` itself if they depend on values."""
    from torch.fx.experimental.proxy_tensor import make_fx

    # a tensor that is given twice would be recorded as one argument
    apart = [tensor.clone() for tensor in tensors]
    try:
        module = make_fx(function)(*apart)
    except RuntimeError as problem:
        warnings.warn(
            f"{function} cannot be recorded and stays as it is, and slow; most often since it asks "
            f"for the value of a tensor: {problem}",
            stacklevel=2,
        )
        return function
    _compute_constants(module)
    recorded: Function = module.forward  # the module itself would look for hooks at every call
    return recorded


def _compute_constants(module: Any) -> None:
    """Puts the values of whatever depends on constants alone in its place."""
    import torch

    graph = module.graph
    excluded = _random_or_overwritten(graph)
    known: dict[Any, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            value = getattr(module, node.target)
            if not isinstance(value, torch.nn.Parameter):
                known[node] = value
        elif node not in excluded and _is_constant(node, known):
            given = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*given[0], **given[1])
    for number, (node, value) in enumerate(known.items()):
        needed = any(user not in known for user in node.users)
        if node.op == "call_function" and needed and isinstance(value, torch.Tensor):
            name = f"_computed_{number}"
            module.register_buffer(name, value)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(name))
    graph.eliminate_dead_code()
    module.recompile()


def _is_constant(node: Any, known: dict[Any, Any]) -> bool:
    """Whether a call depends on constants alone."""
    return node.op == "call_function" and all(part in known for part in node.all_input_nodes)


def _random_or_overwritten(graph: Any) -> set[Any]:
    """What differs from call to call: what is random, or overwritten, or may have a view of it that
    is; a constant must stay one."""
    found: set[Any] = set()
    for node in graph.nodes:
        if node.op == "call_function" and node.is_impure():
            while node not in found:
                found.add(node)
                node = next(iter(node.all_input_nodes), node)
    return found
