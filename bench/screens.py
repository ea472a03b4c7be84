"""Makes the images of docs/images that show results again: page, report, examples, explanation.

python bench/screens.py [--out docs/images] [--only page | report | examples | explanation]

Run it after a change of the default detector or of a shipped model.

No measurement. The portraits are those of examples/, which are in the public domain.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.web.chromium import CHROMIUM, FLAGS, serving  # noqa: E402

EXAMPLES = [ROOT / "examples" / name for name in ("grace_hopper.jpg", "astronaut.jpg")]
HEADS = ((130, 0, 320, 222), (100, 40, 420, 410))
"""What of each portrait the video shows."""
SEEN_S = ((0.0, 8.0), (1.4, 6.9))
"""From when to when each of the two is in it: the astronaut, then the admiral."""
SIZE, RATE = (960, 540), 24
REPORT = (900, 1080)
"""Width and height of the report's screenshot."""
MOMENT_S = 3.35
"""Second that the player shows."""
EXAMPLE_SIDE, EXAMPLE_GAP = 420, 8
"""Side of each of the two example images, and the space between, in pixels."""


def write_video(path: Path) -> None:
    """Write eight seconds of the two portraits, side by side, swaying."""
    astronaut, admiral = (
        Image.open(p).convert("RGB").crop(box).resize((280, 328))
        for p, box in zip(reversed(EXAMPLES), HEADS, strict=True)
    )
    grey = np.linspace(145, 205, SIZE[1], dtype=np.uint8)[:, None]
    ground = np.repeat(np.stack([grey, grey + 2, grey + 6], axis=2), SIZE[0], axis=1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(int(SEEN_S[0][1] * RATE)):
            now = number / RATE
            image = Image.fromarray(ground)
            for head, x, (start, end) in zip((astronaut, admiral), (100, 560), SEEN_S, strict=True):
                if start <= now < end:
                    image.paste(head, (x + round(12 * np.sin(now)), 90 + round(8 * np.cos(now))))
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_report(folder: Path) -> Path:
    """Return the report that `mien video` writes about that video."""
    write_video(folder / "two.mp4")
    command = [sys.executable, "-m", "mien", "video", "two.mp4", "--out", "out", "--report",
               "--annotate"]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True)
    return folder / "out" / "two.html"


def draw_examples(folder: Path, out: Path) -> None:
    """Write what `mien predict examples --annotate` draws, the two images side by side."""
    command: list[str | Path] = [sys.executable, "-m", "mien", "predict", ROOT / "examples"]
    subprocess.run([*command, "--annotate", folder], check=True)
    sheet = Image.new("RGB", (2 * EXAMPLE_SIDE + EXAMPLE_GAP, EXAMPLE_SIDE), "white")
    for number, path in enumerate(reversed(EXAMPLES)):
        image = Image.open(folder / path.name).convert("RGB")
        # The lower part of a portrait in upright format has no face, and is cut off.
        top = min(60, image.height - image.width)
        square = image.crop((0, top, image.width, top + image.width))
        place = (number * (EXAMPLE_SIDE + EXAMPLE_GAP), 0)
        sheet.paste(square.resize((EXAMPLE_SIDE, EXAMPLE_SIDE), Image.Resampling.LANCZOS), place)
    sheet.save(out / "examples.jpg", quality=88)
    print(out / "examples.jpg")


def draw_explanation(folder: Path, out: Path) -> None:
    """Write the image of the explanation that docs/explain.md shows."""
    command: list[str | Path] = [sys.executable, "-m", "mien", "explain", "mien-small"]
    subprocess.run([*command, EXAMPLES[1], "--out", folder], check=True)
    image = Image.open(folder / "explanation-astronaut.png").convert("RGB")
    image.save(out / "explain-astronaut.jpg", quality=88)
    print(out / "explain-astronaut.jpg")


def save(page: Any, path: Path, size: tuple[int, int]) -> None:
    """Write what the page shows, in the format of the suffix."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)  # colours fade in
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").crop((0, 0, *size))
    if path.suffix == ".webp":
        image.save(path, quality=88, method=6)
    else:
        image.save(path, quality=88)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=("page", "report", "examples", "explanation"))
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        if options.only in (None, "examples"):
            draw_examples(Path(name) / "examples", options.out)
        if options.only in (None, "explanation"):
            draw_explanation(Path(name) / "explanation", options.out)
    if options.only in ("examples", "explanation"):
        return
    if CHROMIUM is None:
        raise SystemExit("error: there is no chromium here\nhint: apt-get install chromium")
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if options.only != "page":
            shoot_report(browser, Path(name), options.out)
        if options.only != "report":
            shoot_page(browser, Path(name), options.out)
        browser.close()


def visit(browser: Any, address: str, width: int, height: int, scheme: str = "light") -> Any:
    view: Any = {"width": width, "height": height}
    page = browser.new_context(viewport=view, color_scheme=scheme).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    return page


def shoot_report(browser: Any, folder: Path, out: Path) -> None:
    """Take the report of a video, at a moment with both faces."""
    page = visit(browser, write_report(folder).as_uri(), *REPORT)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    page.evaluate(f"document.querySelector('video').currentTime = {MOMENT_S}")
    page.wait_for_function("!document.querySelector('video').seeking")
    page.evaluate("document.querySelector('video').scrollIntoView()")
    page.evaluate("document.querySelector('video').controls = false")
    save(page, out / "video.jpg", REPORT)


def shoot_page(browser: Any, folder: Path, out: Path) -> None:
    """Take the web page: at the start, with images, on a phone, and with a video."""
    wide, phone, small = (1280, 860), (390, 844), (560, 751)
    with serving(folder) as address:

        def start(width: int, height: int, scheme: str = "light") -> Any:
            page = visit(browser, address, width, height, scheme)
            page.wait_for_selector("body[data-ready]")
            return page

        save(start(*wide), out / "web-start.webp", wide)
        save(start(*small, "dark"), out / "web-dark.webp", small)
        for size, files, name_ in ((wide, EXAMPLES, "image"), (phone, EXAMPLES[1:], "phone")):
            page = start(*size)
            page.set_input_files("#files", [str(p) for p in files])
            page.wait_for_selector(".card .name")
            page.wait_for_selector("#strip .count:has-text('…')", state="detached")
            save(page, out / f"web-{name_}.webp", size)
        write_video(folder / "two.mp4")
        page = start(*wide)
        page.set_input_files("#files", str(folder / "two.mp4"))
        page.wait_for_selector(".card .name")
        page.wait_for_selector("text=Person 2")
        page.evaluate(f"document.querySelector('video').currentTime = {MOMENT_S}")
        page.wait_for_timeout(1500)
        save(page, out / "web-video.webp", wide)


if __name__ == "__main__":
    main()
