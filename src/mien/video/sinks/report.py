"""The report page: the video, its timeline with a moving line, and tables of the summary."""

from __future__ import annotations

from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mien.errors import counted
from mien.palette import PAGE
from mien.video.sinks.timeline import clock
from mien.video.summary import order

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLE = (
    PAGE
    + """
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem }
p { margin: .4rem 0; max-width: 46rem; overflow-wrap: anywhere } .soft { color: var(--soft) }
video { display: block; width: 100%; max-height: 62vh; background: #000; border-radius: 6px;
  margin: 1rem 0 }
.chart { overflow-x: auto; cursor: crosshair } .chart svg { display: block; width: 100%;
  min-width: 40rem; height: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
.alert { border-left: 3px solid var(--bad); padding-left: 1rem }
@media print { video, .hint, .head { display: none } }
"""
)
SCRIPT = """
const video = document.querySelector('video'), svg = document.querySelector('.chart svg'),
  head = svg.querySelector('.head'), begin = +svg.dataset.begin, end = +svg.dataset.end,
  left = +svg.dataset.left, right = +svg.dataset.right;
function move() {
  const share = Math.min(1, Math.max(0, video.currentTime / (end - begin)));
  const x = left + share * (right - left);
  head.setAttribute('x1', x); head.setAttribute('x2', x);
  if (!video.paused) requestAnimationFrame(move);
}
for (const event of ['play', 'seeked', 'timeupdate', 'loadeddata'])
  video.addEventListener(event, move);
svg.addEventListener('click', event => {
  const box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  video.currentTime = Math.max(0, (x - left) / (right - left) * (end - begin));
});
"""


def page(summary: dict[str, Any], labels: Sequence[str], svg: str, video: str | None) -> str:
    """Return the page, HTML without any link to the network.

    Args:
        summary: from `Summary.to_dict`.
        labels: of the model.
        svg: the timeline, with the moving line where there is a video.
        video: name of the annotated video beside the page, or None.
    """
    source = str(summary["source"])
    title = escape(source if "://" in source else PurePath(source).name)
    where = "" if title == escape(source) else f"<br>{escape(source)}"
    player = ""
    if video is not None:
        player = f'<video controls preload="auto" src="{escape(video)}"></video>'
    alert = f'<p class="alert">{escape(summary["error"])}</p>' if summary.get("error") else ""
    script = f"<script>{SCRIPT}</script>" if video is not None else ""
    hint = '<span class="hint">Click into it to go there.</span> ' if video is not None else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} - mien</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>{title}</h1>
<p class="soft">{_in_words(summary)}{where}</p>{alert}{player}
<h2>Expressions over time</h2>
<p class="soft">Smoothed probabilities, stacked; empty where a track has no face or its quality
was too low. {hint}</p><div class="chart">{svg}</div>
<h2>Tracks</h2><div class="wide">{_tracks(summary, labels)}</div>
<h2>Episodes</h2><div class="wide">{_episodes(summary, labels)}</div>
<p class="soft">Expressions are what a face shows, not what someone feels. A track is one face as
long as it stays in view: faces are told apart by where they are and how they move, and nobody is
identified, so a person who is away for long comes back as a new track. Valence is the
mean of P(happy) - P(sad).</p>{script}</body></html>
"""


def _in_words(summary: dict[str, Any]) -> str:
    return ", ".join(
        [
            clock(round(summary["end_s"] - summary["start_s"], 3)),
            counted(summary["frames"], "frame"),
            counted(len(summary["tracks"]), "track"),
            f"{counted(summary['frames_without_a_face'], 'frame')} without a face",
        ]
    )


def _tracks(summary: dict[str, Any], labels: Sequence[str]) -> str:
    names = order(labels)
    rows = [
        [
            f"track {track['track']}",
            f"{clock(track['first_s'])} to {clock(track['last_s'])}",
            f"{track['seen_s']:.1f} s",
            *(f"{track['fraction_of_time'].get(name, 0):.0%}" for name in names),
            _signed(track["mean_valence"]),
        ]
        for track in summary["tracks"]
    ]
    return _table(["", "from, to", "seen", *names, "valence"], rows)


def _signed(valence: float | None) -> str:
    """Return a valence to two digits, without a sign before nothing."""
    return "" if valence is None else f"{round(valence, 2) + 0.0:+.2f}".replace("+0.00", "0.00")


def _episodes(summary: dict[str, Any], labels: Sequence[str]) -> str:
    rows = []
    for track in summary["tracks"]:
        for name in order(labels):
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
    return _table(["", "expression", "episodes", "mean length", "followed by"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return '<p class="soft">No face was found.</p>'
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
