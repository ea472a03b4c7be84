"""The Typer application: the commands with their options, help and checks."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import typer

from mien import __version__
from mien.cli.commands import COMMANDS
from mien.cli.declare import with_typer
from mien.cli.flags import flags_of, name_flags
from mien.cli.streams import NoteStream
from mien.errors import ConfigError, MienError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""Typer's exception for a wrong command line, which has no public name."""
SHARED = ("quiet", "verbose")
"""Options that are accepted before and after the name of a command."""


def _be_quiet(value: bool) -> bool:
    if value:
        # `run` has wrapped stderr already: the stream inside is wrapped again, not the wrapper.
        sys.stderr = NoteStream(getattr(sys.stderr, "stream", sys.stderr), quiet=True)
    return value


def _be_verbose(value: bool) -> bool:
    if value:
        import logging

        if getattr(sys.stderr, "quiet", False):
            raise ConfigError("--quiet and --verbose exclude each other", hint="choose one")
        # stderr as it is now: `run` has wrapped it.
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        log = logging.getLogger("mien")
        # mien's logger only: those of the libraries would bury it.
        log.setLevel(logging.DEBUG)
        log.debug("mien %s, Python %s, %s", __version__, sys.version.split()[0], sys.platform)
    return value


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    quiet: bool = typer.Option(
        False,
        "--quiet",
        "-q",
        callback=_be_quiet,
        is_eager=True,
        expose_value=False,
        help="Print results, warnings and errors only: no progress, no notes.",
    ),
    verbose: bool = typer.Option(
        False,
        "--verbose",
        "-v",
        callback=_be_verbose,
        expose_value=False,
        help="Print a log, and the traceback of an error.",
    ),
) -> None:
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


def _application(names: Iterable[str]) -> typer.Typer:
    """Return the application with these commands."""
    app = typer.Typer(
        name="mien",
        help="Predict facial expressions in images and videos, and train models of your own. mien "
        "predicts what a face shows, never what a person feels.",
        no_args_is_help=True,
        # Tracebacks are for --verbose only; `report` says what a user can do.
        pretty_exceptions_enable=False,
        # Brackets in help texts, such as [NAME=]FILE, are no markup.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # Otherwise `mien --version` would be an error for want of a command.
    app.callback(invoke_without_command=True)(_options)
    for name in names:
        module = import_module(f"mien.cli.{name}")
        if hasattr(module, "app"):
            for command in module.app.registered_commands:
                command.callback = with_typer(command.callback)
            app.add_typer(module.app, name=name, short_help=COMMANDS[name])
        else:
            app.command(name, short_help=COMMANDS[name])(with_typer(getattr(module, name)))
    return app


def command_line(name: str = "") -> Any:
    """Return the whole command, with examples and the shared options in each part of it.

    Args:
        name: the only command that will run; the others are not imported then, which saves an
            eighth of the start. '' takes all.
    """
    from mien.cli.examples import epilog

    names = [name] if name else list(COMMANDS)
    group: Any = typer.main.get_command(_application(names))
    # Typer sorts groups behind commands; the help follows the order of use, from images to a
    # server.
    _order(group, *names)
    if "data" in names:
        _order(group.commands["data"], "import", "show", "audit", "draw")
    shared = [parameter for parameter in group.params if parameter.name in SHARED]
    for path, command in commands(group):
        command.epilog = epilog(path)
        for parameter in command.params:
            _refuse_empty(parameter)
        if path and not hasattr(command, "commands"):
            # Typer knows shared options in front of the command only; people write them behind it.
            command.params = [*command.params, *shared]
            _name_flags_in_errors(command)
    return group


def _order(group: Any, *first: str) -> None:
    """Move commands to the front of a group's help; Typer lists groups after all commands."""
    rest = [name for name in group.commands if name not in first]
    group.commands = {name: group.commands[name] for name in (*first, *rest)}


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each part of a command line with its name: ('', mien), ('data import', ...)."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}".strip())


def _name_flags_in_errors(command: Any) -> None:
    """Let errors from within a command name its flags, not Python arguments."""
    invoke, flags = command.invoke, flags_of(command.params)

    def invoke_with_flags(ctx: Any) -> Any:
        try:
            return invoke(ctx)
        except MienError as error:
            name_flags(error, flags)
            raise

    command.invoke = invoke_with_flags


def _refuse_empty(parameter: Any) -> None:
    """Let an argument or a path refuse '', which pathlib takes for the current folder."""
    kinds = f"{getattr(parameter, 'type_descriptor', '')}{getattr(parameter, 'type', '')}"
    if parameter.param_type_name != "argument" and "path" not in kinds.lower():
        return
    process = parameter.process_value

    def refuse(ctx: Any, value: Any) -> Any:
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            name = parameter.metavar or parameter.name.upper()
            is_argument = parameter.param_type_name == "argument"
            raise ConfigError(
                f"{name if is_argument else parameter.opts[0]} is an empty string",
                hint="is a shell variable unset? '.' is the current folder",
            )
        return process(ctx, value)

    parameter.process_value = refuse
