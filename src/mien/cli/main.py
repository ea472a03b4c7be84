"""The `mien` command: its subcommands, and what a user sees of an error."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import typer

from mien import __version__
from mien.errors import ConfigError, MienError
from mien.files import write_error

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

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
    from mien.cli.data import app as data
    from mien.cli.doctor import doctor
    from mien.cli.evaluate import evaluate
    from mien.cli.explain import explain
    from mien.cli.export import export
    from mien.cli.live import live
    from mien.cli.networks import networks
    from mien.cli.predict import predict
    from mien.cli.train import train
    from mien.cli.video import video

    app.command()(predict)
    app.command()(video)
    app.command()(live)
    app.add_typer(data, name="data")
    app.command()(train)
    app.command()(doctor)
    app.command()(evaluate)
    app.command()(explain)
    app.command()(export)
    app.command()(networks)


def run() -> None:
    """Run the command line; the entry point of the `mien` script.

    Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted. Errors go to stderr in two lines,
    'error:' and 'hint:', without a traceback.
    """
    _register()
    try:
        app()
    except MienError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        sys.exit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILURE)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; that is its right.
        sys.stderr.close()
        sys.exit(EXIT_FAILURE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        full = write_error(Path("the output"), error)
        sys.stderr.write(f"error: {full.message}\nhint: {full.hint}\n")
        _abandon_stdout()
        sys.exit(EXIT_FAILURE)


def _abandon_stdout() -> None:
    """Keep Python from writing what is left of the output once more at its exit, in vain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
