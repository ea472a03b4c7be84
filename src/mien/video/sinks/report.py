"""HTML page of a video: a player, the timeline with a moving line, and tables below."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mien.errors import counted
from mien.report.page import render
from mien.video.sinks.timeline import clock
from mien.video.summary import order

if TYPE_CHECKING:
    from collections.abc import Sequence


def page(summary: dict[str, Any], labels: Sequence[str], svg: str, video: str | None) -> str:
    """Return the page, HTML without any link to the network.

    Args:
        summary: from `Summary.to_dict`.
        labels: the model's labels.
        svg: the timeline, with the moving line where there is a video.
        video: name of the annotated video beside the page, or None.
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
        video=video,
        timeline=svg,
        tracks_head=["", "from, to", "seen", *names, "valence"],
        tracks=_tracks(summary, names),
        episodes_head=["", "expression", "episodes", "mean length", "followed by"],
        episodes=_episodes(summary, names),
    )


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
