"""Which videos a study means: names in its file become sources of the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from mien.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.sessions.design import Study


def placed(study: Study, sources: Sequence[str]) -> Study:
    """Return the study with sources of rows for all names of videos.

    A name is the source itself, or else the name of its file: 'a.mp4' is 'day 1/a.mp4', unless
    'a.mp4' is a source too. Names of no source stay as they are.

    Args:
        study: as its file has it.
        sources: all sources of the rows.

    Raises:
        DataError: a name is the file of two sources, or two sessions have the same source.
    """

    def place(name: str, where: str) -> str:
        if name in sources or PurePath(name).name != name:
            return name
        meant = [source for source in sources if PurePath(source).name == name]
        if len(meant) > 1:
            raise DataError(
                f"{where}: the video {name!r} is {meant[0]!r} or {meant[1]!r}",
                hint="give the video as one of the two",
            )
        return meant[0] if meant else name

    def at(name: str | None, where: str) -> str | None:
        return None if name is None else place(name, where)

    sessions = tuple(
        replace(one, video=place(one.video, f"session {one.id}")) for one in study.sessions
    )
    taken: dict[str, str] = {}
    for one in sessions:
        other = taken.setdefault(one.video, one.id)
        if other != one.id:
            raise DataError(
                f"the sessions {other} and {one.id} have the same video, {one.video!r}",
                hint="give each session a video of its own; parts of a video are stimuli",
            )
    return replace(
        study,
        sessions=sessions,
        stimuli=tuple(
            replace(one, video=at(one.video, f"stimulus {one.name!r}")) for one in study.stimuli
        ),
        events=tuple(
            replace(one, video=at(one.video, f"event {one.name!r}")) for one in study.events
        ),
        exclusions=tuple(
            replace(one, video=at(one.video, f"exclusion {one.reason!r}"))
            for one in study.exclusions
        ),
        corrections=tuple(
            replace(one, source=place(one.source, f"correction {one.label!r}"))
            for one in study.corrections
        ),
    )
