"""Measures the viewer on two hours of rows: time to the drawn timeline, updates while scrubbing.

    python bench/viewer.py [--hours 2] [--rate 25] [--people 2] [--labels 8] [--runs 5]
                           [--video 1280x720] [--gop 250] [--folder DIR]

Rows are synthetic and are written as Parquet. The timeline counts from the request of the page to
the first frame in which the timeline of the whole video is drawn, in headless Chromium with an
empty cache; the rows were loaded when the viewer started, which is given apart. Scrubbing moves the
pointer in each frame of the browser and counts the frames in which the page shows another moment.
With --video it also makes a video of drawn faces, and counts in how many frames the image changed:
the video element presented another frame, or a preview stood above it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import sync_playwright

from mien.data.drawn import Person, draw_face
from mien.labels import EIGHT, THREE
from mien.video.sinks.rows import POSE, arrow_schema

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.viewer.conftest import viewing
from tests.web.chromium import CHROMIUM, FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LOOP_S = 300.0
SHOWN = ("--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows")
"""A page that somebody looks at: Chromium lowers the priority of those in the background."""
BARS = {"timeline_s": 1.0, "updates_per_s": 30.0}

SCRUB = """async (seconds) => {
  const find = (selector) => document.querySelector(selector), canvas = find('.lane canvas');
  const video = find('video'), { left, top, width, height } = canvas.getBoundingClientRect();
  const end = Number(find('#scrubber').getAttribute('aria-valuemax')), start = performance.now();
  let before = null, updates = 0, frames = 0, images = 0, sought = null, image = null, part = 0;
  const off = [];
  const presented = (now, { mediaTime }) => {
    sought = mediaTime;
    video.requestVideoFrameCallback(presented);
  };
  video?.requestVideoFrameCallback(presented);
  while (performance.now() - start < seconds * 1000) {
    part = ((performance.now() - start) / 4000) % 1;
    canvas.dispatchEvent(new PointerEvent('pointermove', { bubbles: true, pointerType: 'mouse',
      clientX: left + part * width, clientY: top + height / 2 }));
    await new Promise(requestAnimationFrame);
    const now = find('#cursor').style.transform + find('#now-time').textContent;
    frames += 1;
    if (now !== before) updates += 1;
    before = now;
    const preview = find('.preview');
    const seen = preview && !preview.hidden ? Number(preview.dataset.time) : sought;
    if (seen !== null && seen !== image) images += 1;
    image = seen;
    if (seen !== null) off.push(Math.abs(seen - part * end) / end);
  }
  const stopped = performance.now(), wanted = part * end;
  const isExact = () => !video || (!video.seeking && Math.abs(video.currentTime - wanted) < 0.5 &&
    find('.preview')?.hidden !== false);
  while (performance.now() - stopped < 10000 && !isExact()) {
    await new Promise(requestAnimationFrame);
  }
  off.sort((a, b) => a - b);
  return { updates: updates / seconds, frames: frames / seconds, images: images / seconds,
    off: off[Math.floor(off.length / 2)] ?? 0, rest: (performance.now() - stopped) / 1000 };
}"""
"""Synthetic events, one in each frame of the browser: the rate is the page's, not the test's. An
image is what the video element presented last, or the preview above it; `off` is the median
distance of its moment from the pointer's as a fraction of the video, `rest` the seconds from the
last event to the exact frame."""
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
        **dict.fromkeys(POSE, np.zeros(count)),
    }  # fmt: skip
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    pq.write_table(pa.table(arrays, schema=schema), path)
    return count


def write_video(path: Path, hours: float, rate: float, size: tuple[int, int], gop: int) -> None:
    """Write a video of drawn faces that move and change, H.264 with few key frames.

    The first LOOP_S seconds are encoded; the rest repeats their packets, which decode alike.
    """
    width, height = size
    loop_s = min(LOOP_S, hours * 3600)
    with tempfile.TemporaryDirectory() as name:
        once = Path(name) / "once.mp4"
        options = {"crf": "23", "preset": "veryfast", "g": str(gop), "keyint_min": str(gop),
                   "sc_threshold": "0"}  # fmt: skip
        with av.open(str(once), "w") as container:
            stream: Any = container.add_stream("libx264", rate=round(rate), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for pixels in _frames(round(loop_s * rate), rate, size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        _repeat(once, path, round(hours * 3600 / loop_s))


def _frames(count: int, rate: float, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield frames: two faces that sway, in front of noise, and a bar that moves with time."""
    width, height = size
    rng, side = np.random.default_rng(0), height * 2 // 3
    ground = rng.integers(90, 130, (height, width, 3), np.uint8)
    people = [Person.make(rng) for _ in range(2)]
    faces = [[draw_face(label, rng, side, person) for label in THREE] for person in people]
    for number in range(count):
        frame = ground.copy()
        for person, own in enumerate(faces):
            shift = round(0.04 * width * np.sin(number / rate + 2 * person))
            left = width // 4 - side // 2 + person * width // 2 + shift
            frame[height // 6 : height // 6 + side, left : left + side] = own[
                int(number / rate / 3 + person) % len(own)
            ]
        frame[-8:, : number * 7 % width] = 255
        yield frame


def _repeat(source: Path, path: Path, times: int) -> None:
    """Write a video whose packets repeat another's."""
    with av.open(str(path), "w") as output:
        offset, stream = 0, None
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is not None:
                        packet.dts, packet.pts = packet.dts + offset, packet.pts + offset
                        packet.stream = stream
                        output.mux(packet)
                offset += video.duration or 0


def main() -> None:
    """Print the figures, and whether they reach the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--labels", type=int, default=8, choices=range(2, 9))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--video", metavar="WIDTHxHEIGHT", help="make a video of this size, too")
    parser.add_argument("--gop", type=int, default=250, help="frames between its key frames")
    parser.add_argument("--folder", type=Path, help="keep rows and video here, for further runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        (folder / "results").mkdir(parents=True, exist_ok=True)
        labels = EIGHT[: options.labels]
        path = folder / "results" / "session.parquet"
        count = write_rows(path, options.hours, options.rate, options.people, labels)
        print(f"{count:,} rows, {options.labels} labels, {path.stat().st_size / 1e6:.0f} MB")
        if options.video:
            width, height = map(int, options.video.split("x"))
            video = folder / "session.mp4"
            if not video.exists():
                write_video(video, options.hours, options.rate, (width, height), options.gop)
            print(f"video {width}x{height}, {video.stat().st_size / 1e6:.0f} MB, "
                  f"a key frame each {options.gop / options.rate:g} s")  # fmt: skip
        started = time.perf_counter()
        with viewing(folder / "results", folder / "viewer.log") as address:
            print(f"start of the viewer, rows loaded: {time.perf_counter() - started:.1f} s")
            _browse(address, options.runs, bool(options.video))


def _browse(address: str, runs: int, has_video: bool) -> None:
    shown: list[float] = []
    rates: list[dict[str, float]] = []
    fetched: list[int] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *SHOWN])
        for run in range(runs):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            size = [0]
            page.on("response", lambda answer, size=size: size.__setitem__(0, size[0] + int(
                answer.headers.get("content-length", 0)) * ("/levels" in answer.url)))  # fmt: skip
            page.goto(address)
            page.wait_for_selector("body[data-drawn]")
            shown.append(page.evaluate(DRAWN) / 1000)
            if has_video:
                page.wait_for_selector("body[data-previews=all]")
            found = page.evaluate(SCRUB, 4)
            rates.append(found)
            fetched.append(size[0])
            line = f"timeline {shown[-1]:.2f} s, {found['updates']:.0f} updates/s of "
            line += f"{found['frames']:.0f} frames/s, {size[0] / 1000:.0f} kB of bins"
            if has_video:
                line += f"; {found['images']:.0f} images/s, {100 * found['off']:.1f}% of the video "
                line += f"away, exact after {found['rest']:.2f} s"
            print(line + (" (first)" if run == 0 else ""))
            page.context.close()
        browser.close()
    slowest, fewest = max(shown), min(found["updates"] for found in rates)
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
