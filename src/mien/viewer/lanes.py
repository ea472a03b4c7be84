"""The lanes of a timeline: a person, or a track that belongs to nobody."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from mien.viewer.levels import Pyramid, describe
from mien.viewer.media import strip_rows
from mien.viewer.results import ROUNDING_S, Piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mien.viewer.results import SourceRows

PERSON, UNKNOWN, NOT_A_FACE = "person", "unknown", "not_a_face"
KINDS = (PERSON, UNKNOWN, NOT_A_FACE)
MAX_PYRAMIDS = 64
"""Lanes whose levels are kept in memory: about 10 MB for each, for two hours and eight labels."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Rows that are drawn as one row of the timeline.

    Attributes:
        id: 'P1' for a person, 't9' for track 9, 't9@12.5' for its part from 12.5 s on.
        kind: one of KINDS.
        name: of the person, if one was given.
        pieces: tracks of the source, or parts of them.
    """

    id: str
    kind: str
    name: str | None
    pieces: tuple[Piece, ...]


def lanes_of(people: Mapping[str, Any], source: str) -> list[Lane]:
    """Return the lanes of a source: people in their order, then unknown tracks, then others.

    Args:
        people: content of people.json.
        source: name of the source.
    """

    def pieces(entries: list[dict[str, Any]]) -> tuple[Piece, ...]:
        return tuple(
            Piece(one["track"], one.get("start_s"), one.get("end_s"))
            for one in entries
            if one["source"] == source
        )

    lanes = [
        Lane(person["id"], PERSON, person.get("name"), own)
        for person in people["people"]
        if (own := pieces(person["tracks"]))
    ]
    for kind in (UNKNOWN, NOT_A_FACE):
        lanes += [Lane(track_id(piece), kind, None, (piece,)) for piece in pieces(people[kind])]
    return lanes


def track_id(piece: Piece) -> str:
    """Return the id of the lane of a track that belongs to nobody."""
    return f"t{piece.track}" + ("" if piece.start_s is None else f"@{piece.start_s:g}")


def lane_json(rows: SourceRows, lane: Lane, number: int, has_faces: bool = True) -> dict[str, Any]:
    """Return what the page shows of a lane, JSON types.

    Args:
        rows: of the source.
        lane: of the source.
        number: of the source, for addresses.
        has_faces: whether there is a video that faces can be cut out of.
    """
    chosen_m = rows.rows_of(lane.pieces)
    times = rows.time_n[chosen_m]
    return {
        "id": lane.id,
        "kind": lane.kind,
        "name": lane.name,
        "pieces": [_piece_json(rows, piece) for piece in lane.pieces],
        "seen_s": round(len(chosen_m) * rows.step_s, 2),
        "first_s": round(float(times[0]), 3) if len(times) else None,
        "last_s": round(float(times[-1]), 3) if len(times) else None,
        "fractions": describe(rows, chosen_m),
        "faces": [
            {
                "src": f"/v1/sources/{number}/faces/{rows.track_n[row]}/{rows.frame_n[row]}.jpg",
                "time_s": round(float(rows.time_n[row]), 3),
            }
            for row in (strip_rows(rows, chosen_m) if has_faces else ())
        ],
    }


def _piece_json(rows: SourceRows, piece: Piece) -> dict[str, Any]:
    """Return a piece with the times of its first and last row."""
    chosen = rows.rows_of([piece])
    first = float(rows.time_n[chosen[0]]) if len(chosen) else piece.start_s or 0.0
    last = float(rows.time_n[chosen[-1]]) if len(chosen) else first
    return {
        "track": piece.track,
        "start_s": piece.start_s,
        "end_s": piece.end_s,
        "first_s": round(first, 3),
        "last_s": round(last, 3),
    }


def moments(
    rows: SourceRows, lanes: list[Lane], start_s: float, end_s: float
) -> dict[str, list[Any]]:
    """Return the rows of a range as columns, by time: for the boxes and the exact probabilities.

    Args:
        rows: of the source.
        lanes: of the source.
        start_s: start of the range, in seconds.
        end_s: end of it, exclusive.
    """
    found: dict[str, list[Any]] = {
        "time_s": [], "lane": [], "track": [], "box": [], "label": [], "probs": [],
    }  # fmt: skip
    names = (*rows.labels, "unsure", "unread")
    for lane in lanes:
        chosen = rows.rows_of(lane.pieces)
        times = rows.time_n[chosen]
        inside = chosen[(times >= start_s - ROUNDING_S) & (times < end_s - ROUNDING_S)]
        for row in inside:
            probs = rows.probs_nk[row]
            found["time_s"].append(round(float(rows.time_n[row]), 6))
            found["lane"].append(lane.id)
            found["track"].append(int(rows.track_n[row]))
            found["box"].append([round(float(value), 1) for value in rows.box_n4[row]])
            found["label"].append(names[rows.code_n[row]])
            read = rows.code_n[row] <= len(rows.labels)
            found["probs"].append([round(float(p), 4) for p in probs] if read else None)
    return found


class Pyramids:
    """The levels of detail of lanes, kept for those used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[Piece, ...]], Pyramid] = OrderedDict()
        self._lock = Lock()

    def get(self, rows: SourceRows, lane: Lane) -> Pyramid:
        """Return the levels of a lane."""
        key = (rows.name, lane.pieces)
        # Two requests of the same lane wait for one computation.
        with self._lock:
            if key not in self._kept:
                self._kept[key] = Pyramid(rows, rows.rows_of(lane.pieces))
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_PYRAMIDS:
                self._kept.popitem(last=False)
            return self._kept[key]


def row_at(rows: SourceRows, track: int, frame: int) -> int | None:
    """Return the row of a track in a frame, or None."""
    own: NDArray[np.int64] = rows.rows_of([Piece(track)])
    found = own[rows.frame_n[own] == frame]
    return int(found[0]) if len(found) else None
