"""The import rule, checked on the syntax trees: a room knows only what lies to its left.

Imports count wherever they stand, also inside a function or for the type checker only: the order of
the rooms is about what a reader must know, not about when Python loads it.
"""

import ast
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kooler"
ROOMS = ("core", "layers", "optimizers", "steps", "models", "data", "callbacks", "seq2seq")
PRIVATE_API_ROOM = "kooler.core.compat"
NAMED_TUPLE_METHODS = {"_asdict", "_fields", "_make", "_replace"}


def test_a_room_imports_only_rooms_to_its_left() -> None:
    found = [line for name, tree in package_trees().items() for line in wrong_rooms(name, tree)]

    assert found == []


def test_only_compat_touches_the_private_api_of_keras() -> None:
    trees = package_trees()
    own = defined_names(trees.values())

    found = [
        line
        for name, tree in trees.items()
        if not name.startswith(PRIVATE_API_ROOM)
        for line in private_keras(name, tree, own)
    ]

    assert found == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert import_circle(package_trees()) is None


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}

    assert folders <= set(ROOMS)


@pytest.mark.parametrize(
    ("importer", "statement", "imported"),
    [
        ("kooler.layers.masking", "import kooler.seq2seq.search", "kooler.seq2seq.search"),
        ("kooler.layers.masking", "from kooler.models import Capture", "kooler.models"),
        ("kooler.layers.masking", "from kooler import steps", "kooler.steps"),
        ("kooler.layers.masking", "from ..data import stream", "kooler.data"),
        ("kooler.layers.masking", "def late():\n    import kooler.callbacks", "kooler.callbacks"),
        ("kooler.core.selectors", "from kooler.layers import Layer", "kooler.layers"),
        ("kooler.layers", "from .. import models", "kooler.models"),
        ("kooler.layers.masking", "from kooler import attach", "kooler"),
    ],
)
def test_a_planted_import_to_the_right_is_found(
    importer: str, statement: str, imported: str
) -> None:
    (found,) = wrong_rooms(importer, ast.parse(statement))

    assert found.startswith(f"{importer}:")
    assert found.endswith(f" imports {imported}")


@pytest.mark.parametrize(
    "statement",
    [
        "from kooler.core import selectors",
        "from kooler.models.capture import Capture",
        "from kooler.seq2seq.order import PAD",
        "from . import order",
        "from kooler import __version__",
        "import keras, numpy",
    ],
)
def test_an_import_to_the_left_or_from_outside_is_allowed(statement: str) -> None:
    assert list(wrong_rooms("kooler.seq2seq.search", ast.parse(statement))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src.backend",
        "from keras.src import backend",
        "from keras import src",
        "import keras\nkeras.src.backend.jax",
        "from keras import _tf_keras",
        "import keras\nkeras.ops._shape",
        "import keras as k\nk.layers._x()",
        "def f(model):\n    return model._compile_loss",
        "def f(self):\n    return self._tracker",
    ],
)
def test_planted_private_keras_is_found(source: str) -> None:
    tree = ast.parse(source)

    (found,) = private_keras("kooler.layers.x", tree, defined_names([tree]))

    assert found.startswith(f"kooler.layers.x:{source.count(chr(10)) + 1} ")


def test_private_names_of_our_own_are_allowed() -> None:
    tree = ast.parse("def f(self):\n    self._own = 1\n    return self._own, pair._replace(a=1)")

    assert list(private_keras("kooler.layers.x", tree, defined_names([tree]))) == []


def test_a_planted_circle_is_found() -> None:
    trees = {
        "kooler.core.a": ast.parse("from kooler.core.b import f"),
        "kooler.core.b": ast.parse("from kooler.core import a"),
    }

    assert import_circle(trees) == {"kooler.core.a", "kooler.core.b"}


def test_an_import_inside_a_function_closes_no_circle() -> None:
    trees = {
        "kooler.core.a": ast.parse("import kooler.core.b"),
        "kooler.core.b": ast.parse("def late():\n    import kooler.core.a"),
    }

    assert import_circle(trees) is None


def package_trees() -> dict[str, ast.Module]:
    """The syntax tree of every module of the package, by its dotted name."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def wrong_rooms(module: str, tree: ast.Module) -> Iterator[str]:
    """One line for each import of a room that does not lie to the left of the module's own."""
    room = room_of(module)
    if room is None:  # kooler/__init__.py and __main__.py show the rooms, so they may import them
        return
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for node in ast.walk(tree):
        for name in imported_modules(module, node):
            if name.split(".")[0] == "kooler" and room_of(name) not in allowed:
                yield f"{module}:{node.lineno} imports {name}"


def private_keras(module: str, tree: ast.Module, own: set[str]) -> Iterator[str]:
    """One line for each use of `keras.src`, or of an underscore name that is not our own."""
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom():
                names = [name for name in imported_names(module, node) if is_private_keras(name)]
            case ast.Attribute(value=ast.Name(id="keras"), attr="src"):
                names = ["keras.src"]
            case ast.Attribute(attr=name) if is_underscored(name) and name not in own:
                names = [name]
            case _:
                continue
        yield from (f"{module}:{node.lineno} uses {name}" for name in names)


def import_circle(trees: dict[str, ast.Module]) -> set[str] | None:
    """The modules of one circle among the imports that run when a module is loaded, or None."""
    graph = {
        module: {
            name
            for node in tree.body
            for imported in imported_names(module, node)
            for name in (imported, imported.rpartition(".")[0])
            if name in trees and name != module and not is_package_of(name, module)
        }
        for module, tree in trees.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return set(error.args[1])
    return None


def imported_names(module: str, node: ast.AST) -> list[str]:
    """What an import statement brings in, as full dotted names; [] for any other statement."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        origin = absolute_origin(module, node)
        return [f"{origin}.{alias.name}" for alias in node.names]
    return []


def imported_modules(module: str, node: ast.AST) -> set[str]:
    """The modules that an import statement names; `from kooler import x` may name a room.

    The version of kooler is the one fact that every room may ask of the whole.
    """
    if not isinstance(node, ast.ImportFrom):
        return set(imported_names(module, node))
    origin = absolute_origin(module, node)
    if origin != "kooler":
        return {origin}
    names = {alias.name for alias in node.names} - {"__version__"}
    return {f"kooler.{name}" if name in ROOMS else origin for name in names}


def absolute_origin(module: str, node: ast.ImportFrom) -> str:
    """The module after `from`, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = module if is_package(module) else module.rpartition(".")[0]
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def is_package(module: str) -> bool:
    """Whether a dotted name is kooler itself or a room, not a file in one."""
    return module.count(".") == 0 or (module.count(".") == 1 and module.split(".")[1] in ROOMS)


def is_package_of(name: str, module: str) -> bool:
    """Whether a module lies inside a package, which Python therefore loads first."""
    return is_package(name) and module.startswith(f"{name}.")


def room_of(module: str) -> str | None:
    """The room in a dotted name, None for the modules directly in kooler."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def is_private_keras(name: str) -> bool:
    """Whether a dotted name lies in Keras and passes through `src` or an underscore."""
    first, *rest = name.split(".")
    return first == "keras" and any(part == "src" or is_underscored(part) for part in rest)


def is_underscored(name: str) -> bool:
    """Whether a name is private by its single leading underscore; `os._exit` is not."""
    return name.startswith("_") and not name.startswith("__") and name != "_exit"


def defined_names(trees: Iterable[ast.Module]) -> set[str]:
    """Every name that the package itself defines or assigns, with the methods of a NamedTuple."""
    own = set(NAMED_TUPLE_METHODS)
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    own.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                    own.add(name)
    return own
