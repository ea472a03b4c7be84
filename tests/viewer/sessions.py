"""A session of two drawn people: its video, and rows of known truth in the form of `mien video`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mien.data.drawn import Person, draw_face
from mien.labels import THREE
from mien.video.sinks.rows import CsvLines, columns

WIDTH, HEIGHT, FACE = 640, 360, 280
RATE = 25
LEFTS = (20, 340)
SEEDS = (44, 48)
AWAY_S = (14.0, 17.0)
"""Seconds in which the second person is away; they return as track 3."""
SCRIPTS = ("nnhhhhnnsssnnhhhhhhnnnnhhhnn", "hhnnnnnhhhhhnnssssnnnhhhnnnn")
"""The label of each second of each person, by its first letter."""
NAMES = {"n": "neutral", "h": "happy", "s": "sad"}


def label_at(person: int, time_s: float) -> str:
    script = SCRIPTS[person]
    return NAMES[script[int(time_s) % len(script)]]


def track_at(person: int, time_s: float) -> int | None:
    if person == 0:
        return 1
    if AWAY_S[0] <= time_s < AWAY_S[1]:
        return None
    return 2 if time_s < AWAY_S[0] else 3


def _half(person: int, label: str | None) -> NDArray[np.uint8]:
    """One half of the frame; the same seed gives the same background and pose."""
    rng = np.random.default_rng(SEEDS[person])
    someone = Person.make(rng)
    state = rng.bit_generator.state
    face = draw_face(label or "neutral", rng, FACE, someone)
    rng.bit_generator.state = state
    half = np.full((HEIGHT, WIDTH // 2, 3), np.median(face[:4], axis=(0, 1)), np.uint8)
    if label is not None:
        half[40 : 40 + FACE, 20 : 20 + FACE] = face
    return half


def write_video(path: Path, seconds: float) -> None:
    halves = {(p, n): _half(p, n) for p in (0, 1) for n in (*THREE, None)}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "20", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(round(seconds * RATE)):
            time_s = number / RATE
            shown = [label_at(p, time_s) if track_at(p, time_s) else None for p in (0, 1)]
            frame = np.concatenate([halves[p, shown[p]] for p in (0, 1)], axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def rows_of(source: str, seconds: float, seed: int = 0) -> list[dict[str, Any]]:
    """Smoothed probabilities that follow the truth, with some noise."""
    rng = np.random.default_rng(seed)
    state = np.full((2, 3), 1 / 3)
    rows = []
    for number in range(round(seconds * RATE)):
        time_s = number / RATE
        about = {**dict.fromkeys(columns(THREE)), "source": source, "frame": number,
                 "pts": number * 512, "time_s": round(time_s, 6)}  # fmt: skip
        for person in (0, 1):
            track = track_at(person, time_s)
            if track is None:
                continue
            wanted = np.full(3, 0.06)
            wanted[THREE.index(label_at(person, time_s))] = 0.88
            noisy = np.clip(wanted + rng.normal(0, 0.16, 3), 0.01, None)
            state[person] += 0.16 * (noisy / noisy.sum() - state[person])
            rows.append({**about, **_face(track, LEFTS[person], state[person])})
        if not any(track_at(p, time_s) for p in (0, 1)):
            rows.append(about)
    return rows


def _face(track: int, left: float, probs: NDArray[np.float64]) -> dict[str, Any]:
    best = int(probs.argmax())
    unsure = bool(probs[best] < 0.5)
    values = dict(zip(THREE, probs.round(4).tolist(), strict=True))
    return {
        "track": track, "x0": left + 55.0, "y0": 75.0, "x1": left + 225.0, "y1": 285.0,
        "origin": "detected", "score": 0.95, "quality": "good",
        **{f"raw_{k}": v for k, v in values.items()}, **{f"p_{k}": v for k, v in values.items()},
        "label": "unsure" if unsure else THREE[best], "confidence": values[THREE[best]],
        "unsure": unsure,
    }  # fmt: skip


def write_rows(folder: Path, source: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem, lines = Path(source).stem, CsvLines(THREE)
    path = folder / f"{stem}.csv"
    path.write_text(lines.header + "".join(map(lines.line, rows)), encoding="utf-8")
    (folder / f"{stem}.summary.json").write_text(json.dumps({"source": source}), encoding="utf-8")
    return path


def draw_session(folder: Path, seconds: float = 28.0, name: str = "interview.mp4") -> Path:
    """Write FOLDER/interview.mp4 and FOLDER/results; return the folder of the results."""
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / name
    write_video(video, seconds)
    write_rows(folder / "results", str(video), rows_of(str(video), seconds))
    return folder / "results"
