"""The public surface: every name that a room offers is there, in order, and documented."""

import importlib
import inspect
from types import ModuleType

import pytest

ROOMS = ("core", "layers", "optimizers", "steps", "models", "data", "callbacks", "seq2seq")
MODULES = ("kooler", *(f"kooler.{room}" for room in ROOMS))


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_every_public_name_resolves(module: ModuleType) -> None:
    missing = [name for name in public_names(module) if not hasattr(module, name)]

    assert missing == []


def test_public_names_are_sorted_and_unique(module: ModuleType) -> None:
    names = public_names(module)

    assert names == sorted(set(names), key=isort_style)


def test_every_public_name_is_documented(module: ModuleType) -> None:
    undocumented = [
        name for name in public_names(module) if not is_documented(getattr(module, name))
    ]

    assert undocumented == []


def test_dir_shows_every_public_name(module: ModuleType) -> None:
    assert set(public_names(module)) <= set(dir(module))


def test_the_module_is_documented(module: ModuleType) -> None:
    assert inspect.getdoc(module)


def test_an_inherited_text_is_no_documentation() -> None:
    class Silent(dict): ...

    assert inspect.getdoc(Silent)
    assert not is_documented(Silent)


def test_a_tuples_own_text_is_no_documentation() -> None:
    import typing

    assert not is_documented(typing.NamedTuple("Silent", [("a", int)]))


def public_names(module: ModuleType) -> list[str]:
    """The `__all__` of a module; a room that offers nothing yet has none."""
    return list(getattr(module, "__all__", []))


def is_documented(value: object) -> bool:
    """Whether a class or function has a text of its own; a plain value needs none."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return True
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    generated = f"{getattr(value, '__name__', '')}("  # what dataclass and NamedTuple write
    return bool(text) and not text.startswith(generated)


def isort_style(name: str) -> tuple[int, str]:
    """The order that ruff keeps: constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name
