"""Measures the viewer on two hours of rows: time to the drawn timeline, updates while scrubbing.

    python bench/viewer.py [--hours 2] [--rate 25] [--people 2] [--labels 8] [--runs 5]

Rows are synthetic and are written as Parquet. The timeline counts from the request of the page to
the first frame in which the timeline of the whole video is drawn, in headless Chromium with an
empty cache; the rows were loaded when the viewer started, which is given apart. Scrubbing moves the
pointer in each frame of the browser and counts the frames in which the page shows another moment.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import sync_playwright

from mien.labels import EIGHT
from mien.video.sinks.rows import arrow_schema

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.viewer.conftest import viewing
from tests.web.chromium import CHROMIUM, FLAGS

BARS = {"timeline_s": 1.0, "updates_per_s": 30.0}

SCRUB = """async (seconds) => {
  const find = (selector) => document.querySelector(selector), canvas = find('.lane canvas');
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const start = performance.now();
  let before = null, updates = 0, frames = 0;
  while (performance.now() - start < seconds * 1000) {
    const part = ((performance.now() - start) / 4000) % 1;
    canvas.dispatchEvent(new PointerEvent('pointermove', { bubbles: true, pointerType: 'mouse',
      clientX: left + part * width, clientY: top + height / 2 }));
    await new Promise(requestAnimationFrame);
    const now = find('#cursor').style.transform + find('#now-time').textContent;
    frames += 1;
    if (now !== before) updates += 1;
    before = now;
  }
  return [updates / seconds, frames / seconds];
}"""
"""Synthetic events, one in each frame of the browser: the rate is the page's, not the test's."""
DRAWN = "performance.getEntriesByName('drawn')[0]?.startTime ?? null"


def write_rows(path: Path, hours: float, rate: float, people: int, labels: tuple[str, ...]) -> int:
    """Write rows that look like smoothed probabilities; return their number."""
    rng, frames = np.random.default_rng(0), round(hours * 3600 * rate)
    schema = arrow_schema(labels)
    columns: dict[str, Any] = {}
    count = frames * people
    frame = np.repeat(np.arange(frames), people)
    walk = np.cumsum(rng.normal(0, 0.06, (frames, people, len(labels))), axis=0)
    probs = np.exp(3 * np.sin(walk)).reshape(count, len(labels))
    probs = (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
    names = np.array(labels)[probs.argmax(axis=1)]
    columns |= {f"{kind}_{n}": probs[:, i] for i, n in enumerate(labels) for kind in ("raw", "p")}
    columns |= {
        "source": np.full(count, "session.mp4"), "frame": frame, "pts": frame,
        "time_s": (frame / rate).round(6), "track": np.tile(np.arange(1, people + 1), frames),
        "origin": np.full(count, "detected"), "quality": np.full(count, "good"),
        "label": names, "unsure": np.zeros(count, bool), "score": np.full(count, 0.9),
        "confidence": probs.max(axis=1), "landmarks": pa.nulls(count, pa.list_(pa.float32())),
        **{name: np.full(count, 100.0 + i) for i, name in enumerate(("x0", "y0", "x1", "y1"))},
    }  # fmt: skip
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    pq.write_table(pa.table(arrays, schema=schema), path)
    return count


def main() -> None:
    """Print the figures, and whether they reach the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--labels", type=int, default=8, choices=range(2, 9))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "results").mkdir()
        labels = EIGHT[: options.labels]
        path = folder / "results" / "session.parquet"
        count = write_rows(path, options.hours, options.rate, options.people, labels)
        print(f"{count:,} rows, {options.labels} labels, {path.stat().st_size / 1e6:.0f} MB")
        started = time.perf_counter()
        with viewing(folder / "results", folder / "viewer.log") as address:
            print(f"start of the viewer, rows loaded: {time.perf_counter() - started:.1f} s")
            _browse(address, options.runs)


def _browse(address: str, runs: int) -> None:
    shown, rates, fetched = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for run in range(runs):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            size = [0]
            page.on("response", lambda answer, size=size: size.__setitem__(0, size[0] + int(
                answer.headers.get("content-length", 0)) * ("/levels" in answer.url)))  # fmt: skip
            page.goto(address)
            page.wait_for_selector("body[data-drawn]")
            shown.append(page.evaluate(DRAWN) / 1000)
            rates.append(page.evaluate(SCRUB, 4))
            fetched.append(size[0])
            line = f"timeline {shown[-1]:.2f} s, {rates[-1][0]:.0f} updates/s of "
            line += f"{rates[-1][1]:.0f} frames/s, {size[0] / 1000:.0f} kB of bins"
            print(line + (" (first)" if run == 0 else ""))
            page.context.close()
        browser.close()
    slowest, fewest = max(shown), min(rate for rate, _ in rates)
    print(
        f"timeline: median {statistics.median(shown):.2f} s, slowest {slowest:.2f} s "
        f"(bar {BARS['timeline_s']} s: {'reached' if slowest <= BARS['timeline_s'] else 'missed'})"
    )
    print(
        f"scrubbing: fewest {fewest:.0f} updates/s (bar {BARS['updates_per_s']:.0f}: "
        f"{'reached' if fewest >= BARS['updates_per_s'] else 'missed'})"
    )


if __name__ == "__main__":
    main()
