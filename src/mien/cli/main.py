"""The `mien` command: its subcommands, and what a user sees of an error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import typer

from mien import __version__
from mien.cli import exit_codes
from mien.cli.streams import Notes, give_up, open_standard_streams
from mien.errors import ConfigError, MienError
from mien.files import write_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""What Typer raises for a wrong command line; it does not publish the name."""
SHARED = ("quiet", "verbose")
"""Options of `mien` that stand behind each command's name too."""

app = typer.Typer(
    name="mien",
    help="Facial expressions, read and learned. We read expressions, never what someone feels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _be_quiet(value: bool) -> bool:
    if value:
        sys.stderr = Notes(getattr(sys.stderr, "stream", sys.stderr), quiet=True)
    return value


def _be_verbose(value: bool) -> bool:
    if value:
        import logging

        if getattr(sys.stderr, "quiet", False):
            raise ConfigError("--quiet and --verbose exclude each other", hint="choose one")
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        log = logging.getLogger("mien")
        log.setLevel(logging.DEBUG)
        log.debug("mien %s, Python %s, %s", __version__, sys.version.split()[0], sys.platform)
    return value


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    quiet: bool = typer.Option(
        False,
        "--quiet",
        "-q",
        callback=_be_quiet,
        is_eager=True,
        expose_value=False,
        help="Print results, errors and warnings only: no progress, no notes.",
    ),
    verbose: bool = typer.Option(
        False,
        "--verbose",
        "-v",
        callback=_be_verbose,
        expose_value=False,
        help="Show the log, and where an error comes from.",
    ),
) -> None:
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


def _register() -> None:
    """Attach every command; each file imports its heavy packages only when it is called."""
    if app.registered_commands:
        return
    from mien.cli.calibrate import calibrate
    from mien.cli.data import app as data
    from mien.cli.doctor import doctor
    from mien.cli.evaluate import evaluate
    from mien.cli.explain import explain
    from mien.cli.export import export
    from mien.cli.live import live
    from mien.cli.models import models
    from mien.cli.networks import networks
    from mien.cli.predict import predict
    from mien.cli.quantize import quantize
    from mien.cli.serve import serve
    from mien.cli.study import study
    from mien.cli.train import train
    from mien.cli.video import video

    app.command(short_help="Read the expressions in images.")(predict)
    app.command(short_help="Follow the faces in videos: rows, summary, report.")(video)
    app.command(short_help="Read a camera as it sees.")(live)
    app.add_typer(data, name="data", short_help="Make datasets without leaks, and look at them.")
    app.command(short_help="Train a network from a recipe.")(train)
    app.command(short_help="Name what went wrong in a training.")(doctor)
    app.command(short_help="Judge claims over a grid of trainings.")(study)
    app.command(short_help="Grade a model, with intervals.")(evaluate)
    app.command(short_help="Show what a model looks at in faces.")(explain)
    app.command(short_help="Write a trained network as one ONNX file.")(export)
    app.command(short_help="Write a model's int8 form.")(quantize)
    app.command(short_help="Fit a model's sets of labels to faces.")(calibrate)
    app.command(short_help="List the models, their size, speed and accuracy.")(models)
    app.command(short_help="List the networks and what each costs.")(networks)
    app.command(short_help="Serve it all over HTTP, with a web page.")(serve)


def command_line() -> Any:
    """Return the whole command, with examples and the shared options in each part of it."""
    from mien.cli.examples import epilog

    _register()
    group: Any = typer.main.get_command(app)
    shared = [parameter for parameter in group.params if parameter.name in SHARED]
    for path, command in _commands(group):
        command.epilog = epilog(path)
        for parameter in command.params:
            _refuse_empty(parameter)
        if path and not hasattr(command, "commands"):
            command.params = [*command.params, *shared]
    return group


def _commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}".strip())


def _refuse_empty(parameter: Any) -> None:
    """Let an argument or a path refuse '': pathlib would take it for the current folder."""
    kinds = f"{getattr(parameter, 'type_descriptor', '')}{getattr(parameter, 'type', '')}"
    if parameter.param_type_name != "argument" and "path" not in kinds.lower():
        return
    process = parameter.process_value

    def refuse(ctx: Any, value: Any) -> Any:
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            name = parameter.metavar or parameter.name.upper()
            is_argument = parameter.param_type_name == "argument"
            raise ConfigError(
                f"{name if is_argument else parameter.opts[0]} is empty",
                hint="is a shell variable unset? '.' is the current folder",
            )
        return process(ctx, value)

    parameter.process_value = refuse


def _say(message: str, hint: str) -> None:
    sys.stderr.write(f"error: {message}\nhint: {hint}\n")


def _say_usage(error: Any, arguments: Sequence[str]) -> None:
    """Tell of a wrong command line as of any other mistake: in two lines."""
    message = error.format_message()
    if message.startswith("Usage:"):  # no arguments at all: the message is the whole help
        sys.stderr.write(f"{message}\n")
        return
    command = error.ctx.command_path if error.ctx else "mien"
    words = " ".join(message.split()).rstrip(".")
    before, should, wanted = words.partition("Input should be ")
    if should:  # Typer does not say what it found
        option = before.removeprefix("Invalid value for ").rstrip(": ").strip("'")
        found = _value(option, arguments)
        words = f"{option} {found!r}: should be {wanted.partition(',')[0]}"
    _say(words[:1].lower() + words[1:], f"see: {command} --help")


def _value(option: str, arguments: Sequence[str]) -> str:
    """Return what was typed for an option of such a name, "-o / --out"; "" where it is unclear."""
    for name in option.replace("'", "").split(" / "):
        for number, argument in enumerate(arguments):
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
            if argument == name and number + 1 < len(arguments):
                return arguments[number + 1]
    return ""


def _explain(error: BaseException) -> None:
    """Show where an error comes from to whoever asked for the log."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("mien").debug("this error comes from", exc_info=error)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the entry point of the `mien` script.

    Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted. Errors go to stderr in two lines,
    'error:' and 'hint:', without a traceback.

    Args:
        arguments: instead of the process's own.
    """
    open_standard_streams()
    stderr, sys.stderr = sys.stderr, Notes(sys.stderr)
    try:
        sys.exit(_run(arguments))
    finally:
        sys.stderr = stderr


def _run(arguments: Sequence[str] | None) -> int:
    """Return the exit code; tell of every error that a user can do something about."""
    try:
        code = command_line()(arguments, prog_name="mien", standalone_mode=False) or 0
        sys.stdout.flush()  # here, where a full disk can still be told of
        return int(code)
    except MienError as error:
        _say(error.message, error.hint)
        _explain(error)
        return exit_codes.USAGE if isinstance(error, ConfigError) else exit_codes.FAILURE
    except USAGE_ERROR as error:
        _say_usage(error, sys.argv[1:] if arguments is None else arguments)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return exit_codes.INTERRUPTED
    except OSError as error:
        give_up(sys.stdout.fileno())
        # The reader of our output (head, less) may go; that is its right.
        if not isinstance(error, BrokenPipeError):
            failure = write_error(error.filename or "the output", error)
            # A name stands in errors of reading too.
            message = f"cannot use {error.filename}: {error.strerror}"
            _say(message if error.filename else failure.message, failure.hint)
            _explain(error)
        return exit_codes.FAILURE
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't start new thread" not in str(error):
            raise
        _say(
            f"not enough memory ({str(error) or 'an allocation failed'})",
            "close other programs, raise the limit (ulimit -v), or give --threads 1",
        )
        _explain(error)
        return exit_codes.FAILURE
