"""Options and arguments of commands, declared without importing Typer.

Typer and pydantic, with which it validates, take longer to import than a face takes to be
classified. Declarations are translated for Typer when a command line needs it: for help, for
errors, and for everything that `mien.cli.quick` leaves to it.
"""

from __future__ import annotations

from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable


class Declared:
    """An option or an argument, as Typer's `Option` and `Argument` take it.

    Attributes:
        names: flags, such as '--threads'; none for an argument.
        settings: keywords, such as `help` and `min`.
        is_option: whether it is an option rather than an argument.
    """

    __slots__ = ("is_option", "names", "settings")

    def __init__(
        self, names: tuple[str, ...], settings: dict[str, Any], *, is_option: bool
    ) -> None:
        self.names, self.settings, self.is_option = names, settings, is_option


def option(*names: str, **settings: Any) -> Declared:
    """Declare an option; see `typer.Option`."""
    return Declared(names, settings, is_option=True)


def argument(**settings: Any) -> Declared:
    """Declare a positional argument; see `typer.Argument`."""
    return Declared((), settings, is_option=False)


def parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Declared | None]]:
    """Return the type of each parameter of a command, and its declaration where it has one."""
    found: dict[str, tuple[Any, Declared | None]] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        declared = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Declared)]
        found[name] = (hint.__origin__, declared[0]) if declared else (hint, None)
    return found


def with_typer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same command with Typer's declarations in place of ours."""
    import typer

    typed: dict[str, Any] = {}
    for name, (kind, declared) in parameters(function).items():
        typed[name] = kind
        if declared is not None:
            make = typer.Option if declared.is_option else typer.Argument
            typed[name] = Annotated[kind, make(*declared.names, **declared.settings)]

    @wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # Typer reads both.
    own = signature(function)
    taken = [p.replace(annotation=typed[p.name]) for p in own.parameters.values()]
    command.__annotations__ = typed
    command.__signature__ = own.replace(parameters=taken)  # type: ignore[attr-defined]
    return command
