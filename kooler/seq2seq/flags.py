"""The fields of `Settings` as options of a command: one list, in one place, for both."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from kooler.seq2seq.settings import Settings


def registered(app: typer.Typer, function: Callable[..., None]) -> Callable[..., None]:
    """Makes a function a command whose help keeps the lines of its docstring as they are.

    Args:
        app: Gets the command.
        function: Its docstring is the help; the first paragraph stands in the overview too.
    """
    first, *others = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    text = "\n\n".join([first, *("\b\n" + paragraph for paragraph in others)])
    return app.command(help=text, short_help=first)(function)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command one option for each field of `Settings`.

    Args:
        command: Its last parameter is `**given`; it gets the fields that the user has set.

    Returns:
        A function with a signature that typer understands.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    hints = get_type_hints(Settings)
    options = [_option(entry, hints[entry.name]) for entry in fields(Settings)]
    names = [entry.name for entry in fields(Settings)]

    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in names}
        command(**values, **{name: value for name, value in given.items() if value is not None})

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return run


def _option(entry: Field[Any], hint: Any) -> inspect.Parameter:
    """A field as an option; not given is None, so that a resumed run knows what to leave alone."""
    name = entry.name.replace("_", "-")
    is_text = hint in (str, tuple[str, ...])
    option = typer.Option(
        f"--{name}/--no-{name}" if hint is bool else f"--{name}",
        help=entry.metadata["help"] + _default(entry.default),
        metavar=None if hint is bool else _metavar(entry, hint),
        show_default=False,
    )
    return inspect.Parameter(
        entry.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None if is_text else hint | None, option],
    )


def _metavar(entry: Field[Any], hint: Any) -> str:
    """The choices where there are few, else what kind of number it is."""
    rule = entry.metadata["rule"]
    if rule and rule[1].startswith("one of "):
        return str(rule[1].removeprefix("one of ").replace(", ", "|"))
    if hint == tuple[str, ...]:
        return "l2r,r2l,mid"
    if str in get_args(hint):
        return "DIRECTORY"
    return "NUMBER" if float in get_args(hint) or hint is float else "COUNT"


def _default(value: Any) -> str:
    if value is None:
        return ""  # decided elsewhere: by the size, or there is no limit
    if isinstance(value, bool):
        return f"  [default: {'yes' if value else 'no'}]"
    return f"  [default: {','.join(value) if isinstance(value, tuple) else value}]"
