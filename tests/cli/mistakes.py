"""What people type wrongly, and a page of what mien answers.

`python -m tests.cli.mistakes` runs every command and writes command, exit code and messages to
out/mistakes.md, to be read as a user would read them: does each message say what is wrong, where,
what was found and what is allowed?
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tests.conftest import ROOT, tiny_info, tiny_model

from mien.cli.main import run
from mien.data.build import write_dataset
from mien.data.drawn import draw_dataset
from mien.imaging.codec import write_image

# exit code | command | part of its message or hint
MISTAKES = """
2 | mien predict | missing argument
2 | mien predcit photo.jpg | did you mean 'predict'
2 | mien --verison | did you mean --version
2 | mien predict photo.jpg --modle x | did you mean --model
2 | mien predict photo.jpg --threads four | --threads must be an integer, got 'four'
2 | mien predict photo.jpg --threads -1 | -1
2 | mien predict '' | is an empty string
2 | mien predict ftp://example.org/me.jpg | ftp://example.org/me.jpg
2 | mien predict s3://key:secret@bucket/me.jpg | must not hold a user name
2 | mien predict file:///tmp/me.jpg | /tmp/me.jpg
1 | mien predict 'nothing*.jpg' | nothing*.jpg
1 | mien predict --from-file none.txt | none.txt
1 | mien predict --from-file empty.txt | one path per line
2 | mien predict - - | given twice
2 | mien predict photo.jpg --json --csv | exclude each other
2 | mien predict photo.jpg -o readings.xls | .csv
2 | mien predict photo.jpg -o readings | .csv
2 | mien predict photo.jpg -o nowhere/readings.csv | mkdir -p nowhere
2 | mien predict photo.jpg -o photos | is a folder
2 | mien predict photo.jpg -o readings.csv --json | contradicts
2 | mien predict photo.jpg --annotate photo.jpg | a file, not a folder
1 | mien predict photo.jpg --model none.onnx | none.onnx
1 | mien predict photo.jpg --model mien-smal | 'mien-small'
1 | mien predict photo.jpg --model words.onnx | words.onnx
2 | mien predict photo.jpg --model '' | --model is an empty string
2 | mien predict photo.jpg --labels hapy | three (happy, neutral, sad)
2 | mien predict photo.jpg --labels eight | mien-small predicts
2 | mien predict photo.jpg --detector mtcn | 'mtcnn'
1 | mien predict photo.jpg --detector opencv=none.onnx | none.onnx
2 | mien predict photo.jpg --faces all | 'whole'
2 | mien predict photo.jpg --min-confidence 70 | 70
2 | mien predict photo.jpg --coverage 95 | 95
2 | mien predict photo.jpg --coverage 0 | 0
2 | mien predict photo.jpg --provider gpu | cpu
2 | mien predict photo.jpg --quiet --verbose | exclude each other
2 | mien predict photo.jpg clip.mp4 | mien video
2 | mien video | mien video needs SOURCES
2 | mien video clip.mp4 --json --csv | exclude each other
2 | mien video clip.mp4 --report | --out
2 | mien video clip.mp4 --resume | --out
2 | mien video clip.mp4 --start 5 --end 2 | 5
2 | mien video clip.mp4 --fps 0 | 0
2 | mien video clip.mp4 --every 0 | 0
2 | mien video clip.mp4 --smooth median | median
2 | mien video clip.mp4 --format xls --out out | xls
2 | mien video - | --size
2 | mien video - --size 640 | 640
2 | mien video camera:front | camera:0
2 | mien live --detect-every 0 | --detect-every: 0 is out of range, 1 or more
2 | mien video clip.mp4 --smooth-seconds -1 | -1
2 | mien video clip.mp4 --segments none | none
2 | mien video clip.mp4 --annotate --no-images --out out | --no-images
2 | mien live --camera front | --camera
2 | mien live clip.mp4 --smooth median | median
1 | mien data show nowhere | nowhere
2 | mien data show '' | FOLDER is an empty string
2 | mien data show drawn --sheet nowhere/sheet.png | mkdir -p nowhere
1 | mien data import nowhere out | nowhere
2 | mien data import photos out --format folder | 'folders'
2 | mien data import photos out --faces all | whole
2 | mien data import photos out --size 4 | --size: 4 is out of range, 8 to 1024
1 | mien data import classes out --validation 1.5 | 1.5
2 | mien data import classes out --subjects people | people
2 | mien data import photos out --duplicates all | near, exact
2 | mien data draw drawn2 --count 3 | 3
1 | mien data draw drawn | drawn
2 | mien data draw drawn2 --count none | --count
1 | mien data audit nowhere | nowhere
2 | mien evaluate mien-tiny --data drawn --image nowhere/p.png | mkdir -p nowhere
1 | mien evaluate mien-tinny --data drawn | 'mien-tiny'
1 | mien evaluate mien-tiny --data photos | photos
2 | mien evaluate mien-tiny --data drawn --labels hapy | hapy
2 | mien evaluate mien-tiny | --data DIR
2 | mien evaluate mien-tiny --data drawn --split all | all
2 | mien explain mien-tiny photo.jpg --patch 0 | 0
2 | mien explain mien-tiny photo.jpg --label hapy | 'happy'
2 | mien explain mien-tiny photo.jpg --layer 7 | --layer
2 | mien explain mien-tiny photo.jpg --draws -1 | -1
1 | mien explain mien-tinny photo.jpg | 'mien-tiny'
1 | mien models none.onnx | none.onnx
1 | mien models words.onnx | words.onnx
2 | mien networks --size 2 | --size: 2 is out of range, 8 to 1024
2 | mien networks --size | --size needs a value
2 | mien networks 64 | more arguments than it takes: 64
2 | mien train | --data
2 | mien train smal --data drawn | 'small'
1 | mien train small --data nowhere | nowhere
2 | mien train tiny --data drawn --set fit.epoch=2 | epochs
2 | mien train tiny --data drawn --set epochs | epochs
2 | mien train tiny --data drawn --epochs 2 | --set fit.epochs=2
2 | mien train tiny --data drawn --set fit.epochs=many | many
2 | mien train tiny --data drawn --set fit.epochs=-1 | -1
1 | mien train --resume nowhere | nowhere
2 | mien doctor nowhere | nowhere
1 | mien export nowhere mine.onnx | nowhere
2 | mien export nowhere mine.pt | .onnx
2 | mien export nowhere gone/mine.onnx | mkdir -p gone
2 | mien quantize mien-tiny gone/mine.onnx --data drawn | mkdir -p gone
2 | mien calibrate mien-tiny mine.txt --data drawn | .onnx
2 | mien study poster | --data
2 | mien quantize | mien quantize needs MODEL
2 | mien quantize mien-tiny q.onnx | needs --data
2 | mien quantize mien-tiny q.onnx --data drawn --max-loss 150 | out of range, 0 to 100
2 | mien study poster --data drawn --seeds 1 | --seeds
2 | mien study poster --data drawn --jobs 0 | --jobs
2 | mien study poster --data drawn --only network | network
2 | mien study nope --data drawn | nope
2 | mien serve --port many | --port
2 | mien serve --port 99999 | 99999
2 | mien serve --max-rate -1 | --max-rate
2 | mien serve --origin example.org | example.org
1 | mien serve --models none.onnx | none.onnx
"""


class Mistake(NamedTuple):
    """A wrong command line, its exit code, and a part of what is printed."""

    code: int
    command: str
    part: str


CASES = [
    Mistake(int(code), command, part)
    for code, command, part in (line.split(" | ") for line in MISTAKES.strip().split("\n"))
]


def make_place(folder: Path) -> Path:
    """Fill a folder with an image, a video's name, a dataset, and files that are no models."""
    shutil.copy(ROOT / "examples" / "astronaut.jpg", folder / "photo.jpg")
    (folder / "photos").mkdir()
    grey = np.full((60, 60, 3), 128, np.uint8)
    write_image(folder / "photos" / "grey.png", grey)
    for label, level in ((label, level) for label in ("happy", "sad") for level in range(12)):
        (folder / "classes" / label).mkdir(parents=True, exist_ok=True)
        write_image(folder / "classes" / label / f"{level}.png", grey - 9 * level)
    (folder / "clip.mp4").write_bytes(b"not a video")
    (folder / "words.onnx").write_text("not a model")
    (folder / "tiny.onnx").write_bytes(tiny_model(tiny_info().to_metadata()))
    (folder / "empty.txt").write_text("\n\n")
    write_dataset(draw_dataset(60, 0), folder / "drawn")
    return folder


def answer(command: str) -> tuple[object, str]:
    """Run a command in this process; return its exit code and everything it prints."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            try:
                run(shlex.split(command)[1:])
            except SystemExit as ended:
                code = ended.code
        stream.seek(0)
        return code, stream.read()


def write_page(path: Path) -> None:
    """Run every command and write the page."""
    parts = [f"# {len(CASES)} mistakes and the answers\n"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(make_place(Path(folder))):
        for mistake in CASES:
            code, text = answer(mistake.command)
            parts.append(f"```\n$ {mistake.command}\n{text}exit code {code}\n```\n")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    write_page(ROOT / "out" / "mistakes.md")
    print(ROOT / "out" / "mistakes.md")
