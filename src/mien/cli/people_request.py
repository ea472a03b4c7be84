"""`mien video --people`: what it needs, and what it writes at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.extras import needs
from mien.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.cli.engine_options import EngineRequest
    from mien.video.people.folder import PeopleFolder


@dataclass(frozen=True, slots=True)
class PeopleRequest:
    """Whether tracks are joined into people, and whether embeddings are kept."""

    wanted: bool = False
    keep: bool = False

    @classmethod
    def checked(cls, wanted: bool, keep: bool, request: EngineRequest) -> PeopleRequest:
        """Refuse options that contradict each other, before a model is loaded."""
        if keep and not wanted:
            raise ConfigError("--keep-embeddings is an option of --people", hint="give --people")
        if not wanted:
            return cls()
        if request.out is None:
            raise ConfigError("--people needs a folder for people.json", hint="give --out DIR")
        if request.name:
            raise ConfigError(
                "--people does not work with --engine",
                hint="read the videos first, then find the people: mien people find DIR",
            )
        return cls(wanted, keep)

    def start(self, out: Path, say: Callable[[str], None], resume: bool) -> PeopleFolder | None:
        """Return what collects the faces, or None where nobody asked for it.

        Raises:
            ConfigError: the folder has people already, whose tracks would be numbered again.
        """
        from mien.video.people.stale import refuse_stale

        if not resume:
            refuse_stale(out)
        if not self.wanted:
            return None
        with needs("people", "--people"):
            import pyarrow  # noqa: F401  (before hours of video: the rows are read by it)

            from mien.video.people.folder import NOTICE, PeopleFolder, describe

            found = PeopleFolder(out, keep=self.keep, say=say)
        say(NOTICE)
        say(describe(found.descriptor))
        return found

    def finish(self, found: PeopleFolder) -> None:
        """Join the tracks of all rows in the folder into people."""
        from mien.cli.people import print_found
        from mien.tables.load import load_rows

        if any(found.folder.glob("*.summary.json")):
            print_found(found.finish(load_rows([found.folder])), found.folder)
