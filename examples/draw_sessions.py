"""Write the rows of a small study whose truth is known, without any video: pairs who watch films.

    python examples/draw_sessions.py pairs

It writes rows as `mien video` would (pairs/rows/*.csv), who the tracks are
(pairs/rows/people.json), events of another clock (pairs/markers.tsv) and the study
(pairs/study.toml). All of it comes from a generator of random numbers: nothing measured on it says
anything about people. Known truth: in the condition 'funny' the log-odds of happy are higher by
1.5, and by 2 more for two seconds after each laugh track; the second of a pair follows the first
by 0.6 s.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mien.video.sinks.rows import columns

LABELS = ("happy", "neutral", "sad")
FUNNY, LAUGH, FOLLOWS_S = 1.5, 2.0, 0.6
REST_S = 20.0
"""Each session starts with a rest; then come the calm film and the funny one."""
OFFSET_S, DRIFT_PPM = -12.5, 80.0
"""The stimulus computer's clock: the video's time when it says 0, and how much the video gains."""
Floats = NDArray[np.float64]


def slow_noise(n: int, rate: float, rng: np.random.Generator, seconds: float = 0.4) -> Floats:
    """Return noise of variance 1 that keeps its value for about `seconds`, float64 [n]."""
    keep = np.exp(-1 / (seconds * rate))
    white = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    # A first-order filter, by its impulse response: no package is needed for it.
    response = keep ** np.arange(int(12 * seconds * rate))
    size = 1 << (n + len(response)).bit_length()
    filtered = np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(response, size), size)
    return np.asarray(filtered[:n])


def probabilities(happy: Floats, rng: np.random.Generator, rate: float) -> Floats:
    """Return probabilities, float64 [n, 3], with these log-odds of happy."""
    p_happy = 1 / (1 + np.exp(-happy))
    of_rest = 1 / (1 + np.exp(-(1.5 + 0.5 * slow_noise(len(happy), rate, rng))))
    return np.stack([p_happy, (1 - p_happy) * of_rest, (1 - p_happy) * (1 - of_rest)], axis=1)


def face_rows(source: str, track: int, time_n: Floats, p_nk: Floats, seen_n: NDArray[Any]) -> Any:
    """Return the rows of one face as a pyarrow.Table with the columns of `mien video`."""
    n = int(seen_n.sum())
    frame = np.flatnonzero(seen_n)
    p = np.round(p_nk[seen_n], 4)
    best = p.max(axis=1)
    label = pa.array([*LABELS, "unsure"]).take(np.where(best < 0.5, 3, p.argmax(axis=1)))
    left = 60.0 + 300.0 * (track - 1)
    values: dict[str, Any] = {
        "source": pa.repeat(source, n), "frame": frame, "pts": frame,
        "time_s": np.round(time_n[seen_n], 6), "track": pa.repeat(pa.scalar(track, pa.int32()), n),
        "x0": np.full(n, left), "y0": np.full(n, 80.0), "x1": np.full(n, left + 160),
        "y1": np.full(n, 260.0), "origin": pa.repeat("detected", n), "score": np.full(n, 0.95),
        "quality": pa.repeat("good", n), "landmarks": pa.nulls(n, pa.string()),
        "label": label, "confidence": best, "unsure": best < 0.5,
    }  # fmt: skip
    for k, name in enumerate(LABELS):
        values[f"raw_{name}"] = values[f"p_{name}"] = p[:, k]
    # Nothing was seen, so that there are no poses.
    unknown = pa.nulls(n, pa.float64())
    return pa.table({name: values.get(name, unknown) for name in columns(LABELS)})


def laughs(seconds: float) -> Floats:
    """Return when the funny film's laugh tracks start, in seconds of the video."""
    start_s = REST_S + (seconds - REST_S) / 2
    return np.arange(start_s + 5, seconds - 5, 10.0)


def pair_rows(source: str, seconds: float, rate: float, rng: np.random.Generator) -> Any:
    """Return the rows of two people in one video; each is unseen for a few seconds."""
    n = int(seconds * rate)
    time_n = np.arange(n) / rate
    film = 1.2 * slow_noise(n, rate, rng, 1.0)
    expected = np.where(time_n >= REST_S + (seconds - REST_S) / 2, FUNNY, 0.0)
    for at in laughs(seconds):
        expected[(time_n >= at) & (time_n < at + 2)] += LAUGH
    shared = film * (time_n >= REST_S)
    tables = []
    for track, delay_s in ((1, 0.0), (2, FOLLOWS_S)):
        late = np.roll(shared, round(delay_s * rate))
        happy = rng.normal(-2, 0.7) + expected + late + 0.5 * slow_noise(n, rate, rng)
        away = rng.uniform(REST_S, seconds - 5)
        seen_n = (time_n < away) | (time_n >= away + 3)
        tables.append(face_rows(source, track, time_n, probabilities(happy, rng, rate), seen_n))
    table = pa.concat_tables(tables)
    return table.sort_by([("frame", "ascending"), ("track", "ascending")])


def study_toml(pairs: int, seconds: float) -> str:
    """Return the study file."""
    half = REST_S + (seconds - REST_S) / 2
    parts = ['# A study of pairs who watch two films.\n[study]\nname = "Pairs"\nrows = "rows"\n'
             'people = "rows/people.json"\n']  # fmt: skip
    for number in range(1, 2 * pairs + 1):
        group = "test" if number % 4 in (1, 2) else "control"
        parts.append(f'[[participant]]\nid = "p{number:02d}"\nperson = "P{number}"\n'
                     f'group = "{group}"\n')  # fmt: skip
    # Two laugh tracks that both clocks have seen; the drift follows from them.
    shared = [[round(float(t), 4), round(to_other(float(t)), 4)]
              for t in (laughs(seconds)[0], laughs(seconds)[-1])]  # fmt: skip
    for number in range(1, pairs + 1):
        who = [f"p{2 * number - 1:02d}", f"p{2 * number:02d}"]
        parts.append(
            f'[[session]]\nid = "s{number}"\nvideo = "pair{number}.mp4"\n'
            f"participants = {json.dumps(who)}\nbaseline = {{ start_s = 0, end_s = {REST_S:g} }}\n"
            f'clock = {{ shared = {shared} }}\nevents_from = ["markers.tsv"]\n'
        )
    for name, start, end in (("calm", REST_S, half), ("funny", half, seconds)):
        parts.append(f'# In every session.\n[[stimulus]]\nname = "{name} film"\nstart_s = {start:g}'
                     f'\nend_s = {end:g}\ncondition = "{name}"\n')  # fmt: skip
    parts.append('[[exclusion]]\nsession = "s1"\nstart_s = 30\nend_s = 34\nreason = "phone"\n')
    return "\n".join(parts)


def to_other(video_s: float) -> float:
    """Return the stimulus computer's time of a time of the video."""
    return (video_s - OFFSET_S) / (1 + DRIFT_PPM * 1e-6)


def main(folder: Path, pairs: int = 4, seconds: float = 120.0, rate: float = 25.0) -> None:
    """Write the study into a folder."""
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    people = []
    for number in range(1, pairs + 1):
        source = f"pair{number}.mp4"
        table = pair_rows(source, seconds, rate, np.random.default_rng(number))
        options = pa_csv.WriteOptions(quoting_style="needed")
        pa_csv.write_csv(table, str(rows / f"pair{number}.csv"), options)
        people += [
            {"id": f"P{2 * number - 2 + t}", "name": None,
             "tracks": [{"source": source, "track": t}]}
            for t in (1, 2)
        ]  # fmt: skip
    content = {"schema": 1, "mien": "drawn", "embedding": {"name": "dlib-face", "threshold": 0.0},
               "people": people, "unknown": [], "not_a_face": []}  # fmt: skip
    (rows / "people.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    lines = [f"{to_other(float(t)):.4f}\t2\tlaugh\n" for t in laughs(seconds)]
    text = "onset\tduration\ttrial_type\n" + "".join(lines)
    (folder / "markers.tsv").write_text(text, encoding="utf-8")
    (folder / "study.toml").write_text(study_toml(pairs, seconds), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pairs"))
    main(parser.parse_args().folder)
