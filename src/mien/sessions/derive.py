"""All tables of a study, from its file and its rows: `derive`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, did_you_mean
from mien.files import csv_text
from mien.sessions.baselines import baselines
from mien.sessions.levels import Levels
from mien.sessions.marks import Marks, note_unplaced
from mien.sessions.notes import Notes
from mien.sessions.output import SCRIPT, Output, check_formats
from mien.sessions.places import placed
from mien.sessions.r_script import r_script
from mien.sessions.rows import Cast, recordings, row_files
from mien.sessions.study_file import load_study
from mien.sessions.summaries import (
    People,
    baseline_table,
    condition_tables,
    people_wide,
    synchrony_table,
)
from mien.sessions.synchrony import SynchronyOptions
from mien.sessions.units import MEASURES, Scored, long_table
from mien.tables.load import load_sources
from mien.video.people.file import People as Tracks
from mien.video.sinks.rows import load_arrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.sessions.recording import Recording

TABLES = ("frames", "windows", "events", "episodes", "people")
"""Levels of tables; summaries and baselines are written always."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What is derived.

    Attributes:
        window_s: length of windows, also around events, in seconds.
        pre_s: seconds before an event.
        post_s: seconds after it.
        formats: see `FORMATS` of `mien.sessions.output`.
        tables: see TABLES.
        synchrony: windows, lags and surrogates.
        resamples: of the bootstrap over participants.
        seed: of bootstrap and surrogates.
    """

    window_s: float = 0.5
    pre_s: float = 1.0
    post_s: float = 3.0
    formats: tuple[str, ...] = ("csv",)
    tables: tuple[str, ...] = TABLES
    synchrony: SynchronyOptions = field(default_factory=SynchronyOptions)
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("window_s", 0.001), ("pre_s", 0.0), ("post_s", 0.0)):
            value = getattr(self, name)
            if not low <= value < math.inf:
                raise ConfigError(
                    f"{name.removesuffix('_s')}: {value:g} is out of range, {low:g} or more",
                    hint="give seconds",
                )
        if self.pre_s + self.post_s <= 0:
            raise ConfigError("pre: nothing around events", hint="give pre or post some seconds")
        for name in self.tables:
            if name not in TABLES:
                raise ConfigError(
                    f"tables: {name!r} is unknown",
                    hint=f"{did_you_mean(name, TABLES)}known: {', '.join(TABLES)}",
                )


@dataclass(frozen=True, slots=True)
class Derived:
    """What was written.

    Attributes:
        files: all files.
        recordings: number of participants in sessions.
        frames: their frames together.
        notes: what was merged, left out or estimated.
    """

    files: tuple[Path, ...]
    recordings: int
    frames: int
    notes: Notes


def derive(study_path: Path, out: Path, options: SessionOptions) -> Derived:
    """Write all tables of a study into a folder.

    Args:
        study_path: `study.toml` or a CSV table.
        out: folder of the tables; it must not hold the rows.
        options: what is derived.

    Raises:
        MienError: the study, a file that it names, or an option is wrong; a file cannot be written.
            Nothing is written then.
    """
    load_arrow()
    formats = check_formats(options.formats)
    study = load_study(study_path)
    folder = study_path.parent
    rows = folder / study.rows
    if out.resolve() == (rows if rows.is_dir() else rows.parent).resolve():
        raise ConfigError(
            f"{out} holds the rows, among which tables would be taken for rows",
            hint="give another folder",
        )
    notes = Notes()
    people_path = folder / study.people
    people = Tracks.load(people_path) if people_path.exists() else None
    files = row_files(rows, study_path, notes)
    study = placed(study, [source for file in files for source in load_sources(file)])
    cast = Cast(study, people, notes)
    found = list(recordings(files, cast))
    if not found:
        raise _no_session(study_path, rows, cast)
    marks = Marks(study, people, folder, notes)
    for one in found:
        marks.mark(one)
    videos = {one.session.video for one in found}
    note_unplaced(study, videos, notes)
    marks.note_corrections(found[0].labels, videos)
    scored = [
        Scored.of(one, base) for one, base in zip(found, baselines(found, notes), strict=True)
    ]
    levels = Levels(study, marks.conditions, _variables(found))
    with Output(out, formats) as output:
        _write(output, scored, levels, marks, options)
        if "r" in options.formats:
            output.text(SCRIPT, r_script(found[0].labels, marks.conditions))
        lines = [(note.kind, note.message) for note in notes.found]
        output.text("notes.csv", csv_text(("kind", "note"), lines))
        output.text("columns.json", json.dumps(COLUMNS, indent=2, ensure_ascii=False) + "\n")
    frames = sum(len(one.time_n) for one in found)
    return Derived(tuple(output.written), len(found), frames, notes)


def _no_session(study_path: Path, rows: Path, cast: Cast) -> ConfigError:
    return ConfigError(
        f"{study_path}: no session has rows in {rows}",
        hint="give video of a [[session]] as the rows have it: "
        + ", ".join(map(repr, cast.sources[:5])),
    )


def _write(
    output: Output, scored: Sequence[Scored], levels: Levels, marks: Marks, options: SessionOptions
) -> None:
    labels = scored[0].one.labels
    people = People(levels, marks.conditions)
    around_s = (options.pre_s, options.post_s)
    for each in scored:
        moments = marks.events(each.one)
        for name in options.tables:
            if name == "frames":
                table = levels.frames(each)
            elif name == "windows":
                table = levels.windows(each, options.window_s)
            elif name == "events":
                table = levels.events(each, moments, options.window_s, around_s)
            elif name == "episodes":
                table = levels.episodes(each)
            else:
                continue
            output.add(f"{name}-wide", table)
            output.add(f"{name}-long", long_table(table, labels, MEASURES))
        people.add(each)
    table = people.table()
    if "people" in options.tables:
        output.add("people-long", long_table(table, labels, (*MEASURES, "effective")))
        output.add("people-wide", people_wide(table, labels, list(levels.variables)))
    means, differences = condition_tables(
        table, labels, resamples=options.resamples, seed=options.seed
    )
    output.add("conditions", means)
    if differences is not None:
        output.add("differences", differences)
    output.add("baselines", baseline_table(scored, levels))
    together = synchrony_table(scored, options.synchrony)
    if together is not None:
        output.add("synchrony", together)


def _variables(found: Sequence[Recording]) -> dict[str, Any]:
    """Return the Arrow type of each between-subject variable: numbers, or text where one is not."""
    pa = load_arrow()
    values: dict[str, list[Any]] = {}
    for one in found:
        for name, value in one.participant.variables.items():
            values.setdefault(name, []).append(value)
    return {
        name: pa.float64()
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in some)
        else pa.string()
        for name, some in values.items()
    }


COLUMNS = {
    "session, video, participant": "whose row it is; then come the participant's variables",
    "condition, stimulus": "of the session or stimulus at that time (windows: at their middle)",
    "face": "whether the participant was found in the frame; without, all later columns are empty",
    "quality": "'good', or why the face was not classified",
    "yaw, pitch, roll": "degrees by which the head is turned, see the documentation of head pose; "
    "empty where they are not known",
    "excluded": "why the frame is left out of all means; empty where it is not",
    "unsure": "the confidence is below the model's threshold",
    "corrected_label, corrected_by": "label that a person gave, beside the model's; not in means",
    "p_LABEL": "smoothed probability that the face shows LABEL, or its mean over frames_used",
    "labelled_LABEL": "fraction of frames_used that have this label",
    "log_odds_LABEL": "mean of log(p / (1 - p)), p kept within 0.001 and 0.999",
    "change_LABEL": "log-odds minus the participant's own mean log-odds at rest",
    "change_low_LABEL, change_high_LABEL": "95% interval: of the rest's mean; of both means in "
    "people, see baselines",
    "effective_LABEL": "independent frames that the participant's frames are worth",
    "frames, frames_with_face, frames_used": "frames of the unit; with a face; with a prediction "
    "that no exclusion covers",
    "fraction_face, fraction_good, fraction_unsure, fraction_excluded": "frames with a face of "
    "all; of good quality of those; unsure of the used ones; left out of all",
    "phase, from_s, to_s": "window before or after the event, in seconds from it",
    "time_s, start_s, end_s": "seconds of the video",
    "expression": "in long tables: the label that the row's measures are of",
}
"""What the columns mean, written beside the tables."""
