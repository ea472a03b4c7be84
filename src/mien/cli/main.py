"""The `mien` command: its subcommands, and what a user sees of an error."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, cast

import typer

from mien import __version__
from mien.errors import ConfigError, MienError
from mien.files import write_error

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""What Typer raises for a wrong command line; it does not publish the name."""

app = typer.Typer(
    name="mien",
    help="Facial expressions, read and learned. We read expressions, never what someone feels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
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
    from mien.cli.quantise import quantise
    from mien.cli.serve import serve
    from mien.cli.study import study
    from mien.cli.train import train
    from mien.cli.video import video

    app.command(short_help="Read the expressions in pictures.")(predict)
    app.command(short_help="Follow the faces in videos: rows, summary, report.")(video)
    app.command(short_help="Read a camera as it sees.")(live)
    app.add_typer(data, name="data", short_help="Make datasets without leaks, and look at them.")
    app.command(short_help="Train a network from a recipe.")(train)
    app.command(short_help="Name what went wrong in a training.")(doctor)
    app.command(short_help="Judge claims over a grid of trainings.")(study)
    app.command(short_help="Grade a model, with intervals.")(evaluate)
    app.command(short_help="Show what a model looks at in faces.")(explain)
    app.command(short_help="Write a trained network as one ONNX file.")(export)
    app.command(short_help="Write a model's int8 form.")(quantise)
    app.command(short_help="Fit a model's sets of labels to faces.")(calibrate)
    app.command(short_help="List the models, their size, speed and accuracy.")(models)
    app.command(short_help="List the networks and what each costs.")(networks)
    app.command(short_help="Serve it all over HTTP, with a web page.")(serve)


def _say(message: str, hint: str) -> None:
    sys.stderr.write(f"error: {message}\nhint: {hint}\n")


def _say_usage(error: Any) -> None:
    """Tell of a wrong command line as of any other mistake: in two lines."""
    message = error.format_message()
    if message.startswith("Usage:"):  # no arguments at all: the message is the whole help
        sys.stderr.write(f"{message}\n")
        return
    command = error.ctx.command_path if error.ctx else "mien"
    _say(message[:1].lower() + message[1:].rstrip("."), f"see: {command} --help")


def _give_up_output() -> None:
    """Send what is still buffered nowhere, so that Python does not fail over it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _accept_any_name() -> None:
    """Let stdout take file names that its encoding cannot hold; they come out spelt out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run() -> None:
    """Run the command line; the entry point of the `mien` script.

    Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted. Errors go to stderr in two lines,
    'error:' and 'hint:', without a traceback.
    """
    _register()
    _accept_any_name()
    try:
        code = app(prog_name="mien", standalone_mode=False) or 0
        sys.stdout.flush()  # here, where a full disk can still be told of
        sys.exit(code)
    except MienError as error:
        _say(error.message, error.hint)
        sys.exit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILURE)
    except USAGE_ERROR as error:
        _say_usage(error)
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        _give_up_output()
        # The reader of our output (head, less) may go; that is its right.
        if not isinstance(error, BrokenPipeError):
            failure = write_error(error.filename or "the output", error)
            # A name stands in errors of reading too.
            message = f"cannot use {error.filename}: {error.strerror}"
            _say(message if error.filename else failure.message, failure.hint)
        sys.exit(EXIT_FAILURE)
