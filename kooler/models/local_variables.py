"""The local variables of a function, made visible without touching the function.

A layer's `call` computes more than it returns. `rewritten(function, names, visit)` is a second
version of the function in which every value that is assigned to one of the names passes through
`visit` first:

    def call(self, x):                      def call(self, x):
        scores = self.query(x) @ …              scores = self.query(x) @ …
        return softmax(scores) @ …              scores = visit(scores, "scores")
                                                return softmax(scores) @ …

so the value can be kept, or exchanged for another. The second version is compiled from the source
text, with the same globals, defaults, closure (zero-argument `super()` works) and decorators. Lines
keep their numbers, so that tracebacks and debuggers show the file as it is.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Collection, Sequence
from typing import Any

Function = Callable[..., Any]
Visit = Callable[[Any, str], Any]

VISIT = "__visit__"
FACTORY = "__factory__"


def assigned_names(function: Function) -> list[str]:
    """The local variables of a function that `rewritten` can make visible, as first assigned.

    Args:
        function: A function or a bound method.

    Returns:
        Their names; none where Python has no source text of the function.
    """
    try:
        definition = _definition(_innermost(function))
    except (OSError, TypeError, SyntaxError):
        return []
    found = _Assigned()
    for statement in definition.body:
        found.visit(statement)
    return list(dict.fromkeys(found.names))


def rewritten(function: Function, names: Collection[str], visit: Visit) -> Function:
    """A version of a function that shows every value assigned to some of its local variables.

    Args:
        function: A function or a bound method, decorated or not.
        names: Local variables, as `assigned_names` lists them.
        visit: `visit(value, name)` → the value to go on with.

    Returns:
        A function, or a method bound to the same object.

    Raises:
        ValueError: A decorator hides the function in a way that cannot be undone.
    """
    if inspect.ismethod(function):
        return types.MethodType(rewritten(function.__func__, names, visit), function.__self__)
    inner = getattr(function, "__wrapped__", None)
    if inner is not None:
        return _around(function, inner, rewritten(inner, names, visit))
    code = _compiled(function, names)
    return _like(function, code, {VISIT: types.CellType(visit)})


def _innermost(function: Function) -> Any:
    function = function.__func__ if inspect.ismethod(function) else function
    return inspect.unwrap(function)


def _definition(function: Any) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise TypeError(f"{function!r} is not defined by `def`")
    return definition


def _compiled(function: Any, names: Collection[str]) -> types.CodeType:
    """The code of the rewritten function.

    It is compiled inside of a function whose arguments are the variables of the closure, so that
    they are variables of the closure again, and inside of a class with the name of its own, because
    of names with two leading underscores.
    """
    definition = _definition(function)
    definition.decorator_list = []
    definition.body = _Visiting(set(names)).statements(definition.body)
    factory = _parsed(f"def {FACTORY}({', '.join([VISIT, *function.__code__.co_freevars])}): pass")
    factory.body = [definition, _parsed(f"return {definition.name}")]
    outside = function.__qualname__.split(".")[-2:-1]
    owner = outside[0] if outside and outside[0].isidentifier() else "Owner"
    around = _parsed(f"class {owner}: pass")
    around.body = [factory]
    tree = ast.fix_missing_locations(ast.Module([around], []))
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    code = compile(tree, inspect.getsourcefile(function) or "<rewritten>", "exec")
    return _code_named([owner, FACTORY, definition.name], code)


def _code_named(path: Sequence[str], code: types.CodeType) -> types.CodeType:
    for name in path:
        inside = (one for one in code.co_consts if isinstance(one, types.CodeType))
        code = next(one for one in inside if one.co_name == name)
    return code


def _like(function: Any, code: types.CodeType, cells: dict[str, types.CellType]) -> Function:
    """A function with other code, and otherwise all that belongs to the first one."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    all_cells = {**closure, **cells}
    new = types.FunctionType(
        code,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(all_cells[name] for name in code.co_freevars),
    )
    new.__kwdefaults__ = function.__kwdefaults__
    new.__dict__.update(function.__dict__)
    return new


def _around(decorated: Any, inner: Function, new: Function) -> Function:
    """What a decorator returned, made again around another function."""
    code: types.CodeType | None = getattr(decorated, "__code__", None)
    closure = zip(code.co_freevars, decorated.__closure__ or (), strict=True) if code else ()
    cells = {name: types.CellType(new) for name, cell in closure if cell.cell_contents is inner}
    if code is None or not cells:
        raise ValueError(
            f"The function {inner.__qualname__} is decorated by something that hides it, so its "
            "local variables cannot be reached. Name the tensor with `tap(tensor, name)` in it."
        )
    return _like(decorated, code, cells)


def _parsed(statement: str) -> Any:
    if statement.startswith("return"):
        return ast.Return(ast.Name(statement.split()[1], ast.Load()))
    return ast.parse(statement).body[0]


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to."""
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(value=None):
            return []
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.For(target=target):
            return [target]
        case ast.With(items=items):
            return [item.optional_vars for item in items if item.optional_vars is not None]
    return []


def _names_in(targets: Sequence[ast.expr]) -> list[str]:
    """The variables among targets; `a.b = …` and `a[i] = …` assign to none."""
    found: list[str] = []
    for target in targets:
        match target:
            case ast.Name(id=name):
                found.append(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                found += _names_in(parts)
            case ast.Starred(value=part):
                found += _names_in([part])
    return found


class _Assigned(ast.NodeVisitor):
    """Collects assigned names, but not those of functions and comprehensions inside."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, _SCOPES):
            return
        self.names += _names_in(_targets(node))
        if isinstance(node, ast.NamedExpr):
            self.names += _names_in([node.target])
        self.generic_visit(node)


class _Visiting:
    """Puts `name = __visit__(name, "name")` behind each assignment to a name."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def statements(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """A body with the visits in it."""
        new: list[ast.stmt] = []
        for statement in body:
            new.append(self.visit(statement))
            if not isinstance(statement, ast.For | ast.With):
                new += self._visits(statement)
        return new

    def visit(self, node: Any) -> Any:
        """A statement or an expression with the visits in it."""
        if isinstance(node, _SCOPES):
            return node
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                setattr(node, field, self.visit(value))
            elif isinstance(value, list):
                setattr(node, field, self._visit_all(value))
        if isinstance(node, ast.For | ast.With):
            node.body[:0] = self._visits(node)
        if isinstance(node, ast.NamedExpr) and node.target.id in self.names:
            node.value = _visit_call(node.value, node.target.id)
        return node

    def _visit_all(self, nodes: list[Any]) -> list[Any]:
        if nodes and isinstance(nodes[0], ast.stmt):
            return self.statements(nodes)
        return [self.visit(node) if isinstance(node, ast.AST) else node for node in nodes]

    def _visits(self, statement: ast.AST) -> list[ast.stmt]:
        names = [name for name in _names_in(_targets(statement)) if name in self.names]
        return [
            ast.copy_location(
                ast.Assign(
                    [ast.Name(name, ast.Store())], _visit_call(ast.Name(name, ast.Load()), name)
                ),
                statement,
            )
            for name in names
        ]


def _visit_call(value: ast.expr, name: str) -> ast.Call:
    return ast.Call(ast.Name(VISIT, ast.Load()), [value, ast.Constant(name)], [])


_SCOPES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
