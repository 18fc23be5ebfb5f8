"""Local variables made visible: in every statement that assigns, and with nothing else changed."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from kooler.models.local_variables import assigned_names, rewritten


def every_statement(x: float, *, extra: float = 1.0) -> Any:
    a = b = x
    a += 1
    c: float = a
    late: float
    (d, *e), f = ((1, 2, 3), 4)
    for g in range(2):
        a = g
    if (h := a) > 100:
        i = 0
    elif h == 1:
        i = 5
    else:
        i = 6
    with open_nothing() as j:
        k = j
    try:
        raise KeyError
    except KeyError:
        m = 7
    match m:
        case 7:
            n = 8
    while n < 9:
        n = n + 1
    inside = [hidden + 0 for hidden in range(3)]

    def deeper() -> int:
        own = 3
        return own

    late = deeper()
    return a, b, c, d, e, f, h, i, k, m, n, inside, late, extra


class open_nothing:
    def __enter__(self) -> str:
        return "opened"

    def __exit__(self, *_: Any) -> None: ...


def seen_by(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
    seen: list[Any] = []

    def visit(value: Any, name: str) -> Any:
        seen.append((name, value))
        return value

    return rewritten(function, assigned_names(function), visit)(*args, **kwargs), seen


def test_all_statements_that_assign_are_seen_in_their_order() -> None:
    result, seen = seen_by(every_statement, 2.0, extra=3.0)

    assert result == every_statement(2.0, extra=3.0)
    assert seen == [
        *(("a", 2.0), ("b", 2.0), ("a", 3.0), ("c", 3.0), ("d", 1), ("e", [2, 3]), ("f", 4)),
        *(("g", 0), ("a", 0), ("g", 1), ("a", 1), ("h", 1), ("i", 5), ("j", "opened")),
        *(("k", "opened"), ("m", 7), ("n", 8), ("n", 9), ("inside", [0, 1, 2]), ("late", 3)),
    ]


def test_the_names_are_those_of_the_function_itself() -> None:
    assert assigned_names(every_statement) == [*"abcdefghijkmn", "inside", "late"]


def test_a_value_may_be_exchanged() -> None:
    def twice(x: int) -> int:
        doubled = 2 * x
        return doubled + 1

    changed = rewritten(twice, ["doubled"], lambda value, name: value * 10)

    assert (twice(3), changed(3)) == (7, 61)


class Parent:
    def call(self, x: int) -> int:
        return x + 1


class Child(Parent):
    def __init__(self) -> None:
        self.__secret = 5

    def call(self, x: int, times: int = 3) -> int:
        base = super().call(x) * times
        return base + self.__secret


def test_super_private_names_and_defaults_work() -> None:
    child = Child()
    seen: list[Any] = []
    changed = rewritten(child.call, ["base"], lambda value, name: seen.append(value) or value)

    assert changed(1) == child.call(1) == 11
    assert changed(1, times=4) == 13
    assert seen == [6, 8]


def test_globals_and_closures_are_the_same_and_not_copies() -> None:
    count = 1

    def counts(x: int) -> int:
        nonlocal count
        found = LATER + x
        count += found
        return count

    changed = rewritten(counts, ["found"], lambda value, name: value)
    globals()["LATER"] = 10

    assert changed(1) == 12
    assert count == 12


LATER = 0


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def around(*args: Any) -> Any:
        return function(*args) + 1000

    return around


def test_decorators_stay_around() -> None:
    @logged
    @logged
    def decorated(x: int) -> int:
        value = x + 1
        return value

    result, seen = seen_by(decorated, 1)

    assert (result, seen) == (2002, [("value", 2)])


def test_a_decorator_that_hides_the_function_is_an_error() -> None:
    class Hides:
        def __init__(self, function: Any) -> None:
            functools.update_wrapper(self, function)

    @Hides
    def hidden(x: int) -> int:
        value = x
        return value

    with pytest.raises(ValueError, match="is decorated by something that hides it"):
        rewritten(hidden, ["value"], lambda value, name: value)


def test_lines_keep_their_numbers() -> None:
    def fails(x: int) -> float:
        value = x
        return value / 0

    changed = rewritten(fails, ["value"], lambda value, name: value)
    with pytest.raises(ZeroDivisionError) as error:
        changed(1)

    frame = error.traceback[-1]
    assert frame.lineno == fails.__code__.co_firstlineno + 1
    assert frame.path.name == "test_local_variables.py"


def test_what_has_no_source_has_no_names() -> None:
    names: dict[str, Any] = {}
    exec("def f(x):\n    y = x\n    return y", names)

    assert assigned_names(names["f"]) == []
    assert assigned_names(len) == []
    assert assigned_names(lambda x: x) == []
