"""HTML page of a video: the viewer's page in one file, and tables below; read `page` first.

The page has the viewer's modules, and levels of detail of the tracks in place of its server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mien.errors import counted
from mien.report.page import render
from mien.report.web import bundle
from mien.video.people.alone import each_alone
from mien.video.people.seen import TrackKey
from mien.video.sinks.timeline import clock
from mien.video.summary import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.video.sinks.lanes import Lanes


@dataclass(frozen=True, slots=True)
class ShownVideo:
    """The video of a page.

    Attributes:
        address: relative to the page.
        offset_s: moment of the source at which it starts, in seconds.
    """

    address: str
    offset_s: float


def page(
    summary: dict[str, Any],
    labels: Sequence[str],
    svg: str,
    lanes: Lanes,
    video: ShownVideo | None,
) -> str:
    """Return the page, HTML without any link to the network.

    Args:
        summary: from `Summary.to_dict`.
        labels: the model's labels.
        svg: the timeline, for print and for browsers without scripts.
        lanes: the tracks as levels of detail.
        video: what is shown beside the timeline, or None.
    """
    source = str(summary["source"])
    title = source if "://" in source else PurePath(source).name
    names = order(labels)
    return render(
        "video.html",
        title=title,
        about=_in_words(summary),
        path="" if title == source else source,
        error=summary.get("error"),
        video=None if video is None else video.address,
        timeline=svg,
        tracks_head=["", "from, to", "seen", *names, "valence"],
        tracks=_tracks(summary, names),
        episodes_head=["", "expression", "episodes", "mean length", "followed by"],
        episodes=_episodes(summary, names),
        view=bundle(),
        state=_state(title, summary, labels, lanes, video),
    )


def _state(
    title: str,
    summary: dict[str, Any],
    labels: Sequence[str],
    lanes: Lanes,
    video: ShownVideo | None,
) -> dict[str, Any]:
    """Return what the page's script reads in place of the viewer's server."""
    source, tracks = str(summary["source"]), lanes.tracks()
    note = "This video is not stored." if video is None else ""
    return {
        "title": title,
        "labels": list(labels),
        "source": {
            "name": source,
            "step_s": lanes.step_s or summary["end_s"] or 1.0,
            "end_s": summary["end_s"],
            "frames": summary["frames"],
            "video": None if video is None else video.address,
            "offset_s": 0.0 if video is None else video.offset_s,
            "note": note,
        },
        "tracks": tracks,
        "people": each_alone(TrackKey(source, track) for track in tracks).to_dict(),
        **lanes.levels(summary["end_s"]),
    }


def _in_words(summary: dict[str, Any]) -> str:
    return ", ".join(
        [
            clock(round(summary["end_s"] - summary["start_s"], 3)),
            counted(summary["frames"], "frame"),
            counted(len(summary["tracks"]), "track"),
            f"{counted(summary['frames_without_a_face'], 'frame')} without a face",
        ]
    )


def _tracks(summary: dict[str, Any], names: Sequence[str]) -> list[list[str]]:
    return [
        [
            f"track {track['track']}",
            f"{clock(track['first_s'])} to {clock(track['last_s'])}",
            f"{track['seen_s']:.1f} s",
            *(f"{track['fraction_of_time'].get(name, 0):.0%}" for name in names),
            _signed(track["mean_valence"]),
        ]
        for track in summary["tracks"]
    ]


def _signed(valence: float | None) -> str:
    """Return a valence with two digits and its sign; zero has none."""
    return "" if valence is None else f"{round(valence, 2) + 0.0:+.2f}".replace("+0.00", "0.00")


def _episodes(summary: dict[str, Any], names: Sequence[str]) -> list[list[str]]:
    rows = []
    for track in summary["tracks"]:
        for name in names:
            episode = track["episodes"].get(name)
            if episode is None:
                continue
            moves = ", ".join(
                f"{move.removeprefix(name + ' ')} {count}"
                for move, count in track["transitions"].items()
                if move.startswith(name + " ")
            )
            rows.append([f"track {track['track']}", name, str(episode["count"]),
                         f"{episode['mean_s']:.1f} s", moves])  # fmt: skip
    return rows
