"""What the doctor's callbacks of other trainers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.doctor.programs.watch import Watch
    from mien.doctor.report import Report


class Watching:
    """Holds the watch of a trainer's run.

    Attributes:
        watch: None before the training.
    """

    watch: Watch | None = None

    def stop(self) -> None:
        """Remove the hooks."""
        if self.watch is not None:
            self.watch.close()

    def report(self) -> Report:
        """Return the findings.

        Raises:
            ConfigError: no training was watched.
        """
        if self.watch is None:
            raise ConfigError(
                "the callback has watched no training",
                hint="train with it first, with an optimiser",
            )
        return self.watch.report()
