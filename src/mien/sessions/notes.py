"""Notes: what a reader of a study's tables must know, such as events that lie outside a video."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """One of them.

    Attributes:
        kind: what it is about: baseline, clock, event, exclusion, file, rows, session, tier, video.
        message: a sentence.
    """

    kind: str
    message: str


@dataclass(slots=True)
class Notes:
    """All notes of a study, in the order in which they came up."""

    found: list[Note] = field(default_factory=list)

    def add(self, kind: str, message: str) -> None:
        """Add a note; the same one twice counts once."""
        note = Note(kind, message)
        if note not in self.found:
            self.found.append(note)
