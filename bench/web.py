"""Measures the web page in headless Chromium: time until it is usable, camera results per second.

    python bench/web.py [--seconds 20] [--rounds 5] [--fast 60]

Needs chromium, playwright and `make web`. The camera plays a file, 640 x 480 at 30 frames per
second. Compare the time until ready with 2 s, and the rates with 15 (server) and 30 (private mode)
per second. A camera of 30 frames per second allows no more, so private mode is measured with a
faster one too, of which the page asks for every frame (--fast; 0 leaves it out). On a busy machine
the rates fall; the CPU time per result, browser and server together, is steadier, and 'cores' is
how many cores were used.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.web.chromium import CHROMIUM, FLAGS, serving, write_camera, write_fast_camera

EVERY_FRAME = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = ({ video }) => open({ video: { ...video, frameRate: %d } });
"""
"""The page asks for 30 frames per second; this asks for those of the fast camera."""
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s() -> float:
    """Return the CPU seconds of all running descendants of this process."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended just now
        pid = int(stat.parent.name)
        parents[pid] = int(values[1])
        spent[pid] = (int(values[11]) + int(values[12])) / TICKS
    total = 0.0
    for pid, seconds in spent.items():
        at = pid
        while at in parents and at != os.getpid():
            at = parents[at]
        total += seconds if at == os.getpid() and pid != at else 0
    return total


def ready_s(browser: Browser, address: str) -> float:
    """Return the seconds until the page is usable, with an empty cache."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    taken = time.perf_counter() - started
    context.close()
    return taken


def camera(page: Page, seconds: float) -> dict[str, Any]:
    """Let the camera run; count its answers, and those with a new classification."""
    page.click("#camera")
    page.wait_for_selector(".card", timeout=120_000)
    page.wait_for_timeout(3000)
    with page.expect_download() as before:
        page.click("#save-csv")
    spent, started = cpu_s(), time.perf_counter()
    page.wait_for_timeout(seconds * 1000)
    spent, taken = cpu_s() - spent, time.perf_counter() - started
    with page.expect_download() as after:
        page.click("#save-csv")
    rows = Path(after.value.path()).read_text().splitlines()
    new = rows[len(Path(before.value.path()).read_text().splitlines()) :]
    names = rows[0].split(",")
    raw = next(i for i, name in enumerate(names) if name.startswith("raw_"))
    frames = {row.split(",")[1] for row in new}
    read = {row.split(",")[1] for row in new if row.split(",")[raw]}
    page.click("#again")
    return {
        "rate": len(frames) / taken, "read": len(read) / taken,
        "cost_ms": 1000 * spent / max(len(frames), 1), "cores": spent / taken,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fast", type=int, default=60, help="frames per second of the fast camera")
    arguments = parser.parse_args()
    assert CHROMIUM, "chromium is not installed"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_camera(folder / "camera.mjpeg", scenes=2, frames=120)
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}"]
        with serving(folder) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
            ready_s(browser, address)  # the browser's own first page
            times = [ready_s(browser, address) for _ in range(arguments.rounds)]
            print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
            print(
                f"page ready: median {statistics.median(times):.2f} s, worst {max(times):.2f} s, "
                f"n = {len(times)} (target: 2 s)"
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.wait_for_selector("body[data-ready]")
            report("camera, server", camera(page, arguments.seconds), 15)
            started = time.perf_counter()
            page.check("[name=where][value=private]")
            page.wait_for_selector("body[data-private=on]", timeout=120_000)
            print(f"private mode downloaded and started: {time.perf_counter() - started:.1f} s")
            report("camera, private", camera(page, arguments.seconds), 30)
            browser.close()
            if arguments.fast:
                found = fast_camera(playwright, address, folder, arguments)
                report(f"camera of {arguments.fast}/s, private", found, 30)


def fast_camera(
    playwright: Playwright, address: str, folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measure private mode with a camera that gives more frames than it is to read."""
    path = folder / "camera.y4m"
    write_fast_camera(path, arguments.fast, scenes=2, frames=120)
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={path}"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(EVERY_FRAME % arguments.fast)
    page.goto(f"{address}/#private")
    page.wait_for_selector("body[data-private=on]", timeout=120_000)
    found = camera(page, arguments.seconds)
    browser.close()
    return found


def report(name: str, figures: dict[str, Any], wanted: float) -> None:
    print(
        f"{name}: {figures['rate']:.1f} results/s (target: {wanted}), {figures['read']:.1f} of "
        f"them with a new classification; {figures['cost_ms']:.0f} ms CPU per result, "
        f"{figures['cores']:.2f} cores, load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
