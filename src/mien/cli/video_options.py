"""The options of `mien video`: name, help and range of each; defaults stand in its signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Videos, images, folders, quoted globs, addresses (rtsp://, http://), camera:0, or "
        "- for raw rgb24 frames on standard input."
    ),
]

# What is written, and where.
AsJson = Annotated[bool, typer.Option("--json", help="Print rows as JSON lines.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for rows and summaries.")
]
RowFormat = Annotated[
    str, typer.Option("--format", help="Format of the rows in --out: csv, json or parquet.")
]
Annotate = Annotated[bool, typer.Option("--annotate", help="Also write an annotated video.")]
Timeline = Annotated[bool, typer.Option("--timeline", help="Also write a timeline image.")]
Report = Annotated[
    bool, typer.Option("--report", help="Also write a page with annotated video and timeline.")
]
BlurFaces = Annotated[
    bool,
    typer.Option(
        "--blur-faces",
        help="Blur the faces in all images, in an annotated video if nothing else is asked for; "
        "leaves out the sound too.",
    ),
]
NoImages = Annotated[bool, typer.Option("--no-images", help="Keep no pixels at all.")]
People = Annotated[
    bool,
    typer.Option(
        "--people",
        help="Also join the tracks in --out into people, by comparing faces: biometric "
        "processing, see docs/people.md.",
    ),
]
KeepEmbeddings = Annotated[
    bool,
    typer.Option(
        "--keep-embeddings", help="With --people: also write the faces' embeddings to --out."
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip the sources that are done in --out; resume the others."),
]

# Which frames are read.
Start = Annotated[
    float,
    typer.Option("--start", help="Start time in seconds of the player's clock, 0 or more."),
]
End = Annotated[
    float | None,
    typer.Option("--end", help="End time in seconds, exclusive (default: the end)."),
]
Every = Annotated[
    int, typer.Option("--every", help="Read every n-th frame, 1 or more (1 = all frames).")
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Maximum frames read per second, above 0 (default: all)."),
]
Size = Annotated[
    str | None, typer.Option("--size", help="Size of raw frames in pixels: WIDTHxHEIGHT.")
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", help="Raw frames per second, above 0 (default: 30)."),
]

# How faces are tracked and classified.
DetectEvery = Annotated[
    int | None,
    typer.Option(
        "--detect-every",
        help="Frames from one detection to the next, 1 or more (default: 0.2 s; 1 with "
        "--blur-faces).",
    ),
]
ReadEvery = Annotated[
    int | None,
    typer.Option(
        "--read-every",
        help="Frames from one classification to the next, 1 or more (default: 15 a second).",
    ),
]
SplitSeconds = Annotated[
    float,
    typer.Option(
        "--split-seconds",
        min=0,
        help="With --engine: seconds of a part of a long video, 0 or more (0 = not in parts).",
    ),
]
Segments = Annotated[
    str,
    typer.Option(
        "--segments",
        help="Episodes of the summary: from the predicted labels (labels), or from the most "
        "likely sequence of labels (viterbi).",
    ),
]
LostSeconds = Annotated[
    float,
    typer.Option(
        "--lost-seconds", help="Seconds without a detection after which a track ends, 0 or more."
    ),
]
