"""Standing around the `call` of a layer, without touching its class, config or weights.

A hook is a function `hook(call, *args, **kwargs)`: it receives what the layer would have called,
calls it (or not), and returns what the caller gets:

    def double(call, *args, **kwargs):
        return 2 * call(*args, **kwargs)

    with hooked({layer: double}):        # for this thread, until the block ends
        model.predict(x)
    handle = hook(layer, double)         # until handle.remove()

Keras looks up `self.call` on the instance, so the hooks live in the layer's own `__dict__` and are
needed only while a backend traces. Capture, masks, reparametrisation and logging stand on this
file.

Several hooks nest: the one that came last is outermost. Lasting hooks stand inside the temporary
ones. What they all stand around may be exchanged as well, with `replaced({layer: function})`.
Temporary hooks are seen by the thread that opened them and by no other, and are always taken away
again, also after an exception. When the last hook of a layer goes, the layer is as it was.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kooler.core import compat

Hook = Callable[..., Any]

_lock = threading.RLock()


class _OfThisThread(threading.local):
    """What one thread has put around a layer for a while, innermost first."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.calls: list[Hook] = []


class _Hooks:
    """The hooks of one layer, and the `call` that they stand around."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.own = layer.__dict__.get("call")  # someone else's patch, to be put back
        self.call = layer.call
        self.lasting: list[Hook] = []
        self.users = 0  # lasting hooks, and open `hooked` blocks of any thread
        self.temporary = _OfThisThread()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        call = self.temporary.calls[-1] if self.temporary.calls else self.call
        for hook in [*self.lasting, *self.temporary.hooks]:
            call = functools.partial(hook, call)
        return call(*args, **kwargs)


class HookHandle:
    """A lasting hook; `remove()` takes it away."""

    def __init__(self, layer: Any, function: Hook) -> None:
        self._layer = layer
        self._function: Hook | None = function

    def remove(self) -> None:
        """Takes the hook away; a second call does nothing."""
        if self._function is None:
            return
        with _lock:
            hooks = _hooks_of(self._layer)
            hooks.lasting.remove(self._function)
            self._function = None
            _release(hooks)


def hook(layer: Any, function: Hook) -> HookHandle:
    """Stands around the `call` of a layer from now on.

    Compiled functions that were traced before do not see the hook: see `reset_functions`.

    Args:
        layer: Any Keras layer or model, built or not.
        function: `function(call, *args, **kwargs)` → the output of the layer.

    Returns:
        A handle whose `remove()` takes the hook away.
    """
    with _lock:
        hooks = _acquire(layer)
        hooks.lasting.append(function)
    return HookHandle(layer, function)


@contextmanager
def hooked(functions: Mapping[Any, Hook]) -> Iterator[None]:
    """Stands around the `call` of some layers, in this thread, while the block runs.

    Args:
        functions: Layer → `function(call, *args, **kwargs)`.
    """
    with _temporarily(functions, lambda hooks: hooks.temporary.hooks):
        yield


@contextmanager
def replaced(functions: Mapping[Any, Hook]) -> Iterator[None]:
    """Runs something else in place of the `call` of some layers, inside of all hooks.

    In this thread, while the block runs.

    Args:
        functions: Layer → a function with the arguments of its `call`.
    """
    with _temporarily(functions, lambda hooks: hooks.temporary.calls):
        yield


def plain_call(layer: Any) -> Hook:
    """The `call` of a layer without the hooks that stand around it."""
    hooks = _find(layer)
    call: Hook = layer.call if hooks is None else hooks.call
    return call


def is_hooked(layer: Any) -> bool:
    """Whether any hook stands around the `call` of a layer."""
    return _find(layer) is not None


def reset_functions(model: Any) -> None:
    """Forgets the compiled train, test and predict functions of a model and of the models in it.

    TensorFlow keeps the graph it traced, JAX the program it compiled: after a lasting hook came or
    went, both must trace anew.  Models that contain this one must be reset by themselves.
    """
    for layer in compat.flat_layers(model):
        for name in ("train_function", "test_function", "predict_function"):
            if hasattr(layer, name):
                setattr(layer, name, None)


@contextmanager
def _temporarily(
    functions: Mapping[Any, Hook], stack_of: Callable[[_Hooks], list[Hook]]
) -> Iterator[None]:
    entered: list[_Hooks] = []
    try:
        for layer, function in functions.items():
            with _lock:
                hooks = _acquire(layer)
            entered.append(hooks)
            stack_of(hooks).append(function)
        yield
    finally:
        for hooks in reversed(entered):
            stack_of(hooks).pop()
            with _lock:
                _release(hooks)


def _find(layer: Any) -> _Hooks | None:
    run = layer.__dict__.get("call")
    owner = getattr(run, "__self__", None)
    return owner if isinstance(owner, _Hooks) else None


def _hooks_of(layer: Any) -> _Hooks:
    hooks = _find(layer)
    if hooks is None:
        raise RuntimeError(
            f"The `call` of layer {layer.name!r} was replaced while a hook stood around it. "
            "Take hooks away in the opposite order in which they came."
        )
    return hooks


def _acquire(layer: Any) -> _Hooks:
    hooks = _find(layer)
    if hooks is None:
        hooks = _Hooks(layer)
        layer.__dict__["call"] = hooks.run
    hooks.users += 1
    return hooks


def _release(hooks: _Hooks) -> None:
    hooks.users -= 1
    if hooks.users:
        return
    if hooks.own is None:
        del hooks.layer.__dict__["call"]
    else:
        hooks.layer.__dict__["call"] = hooks.own
