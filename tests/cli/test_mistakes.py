"""What people type wrongly: each mistake ends in one line, with a hint, and no traceback.

`MIEN_SHOW_MISTAKES=1 pytest -s tests/cli/test_mistakes.py` prints them all, to be read as a user
would.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT, tiny_info, tiny_model

from mien.cli.main import run
from mien.data.build import write_dataset
from mien.data.drawn import draw_dataset
from mien.imaging.codec import write_image

MISTAKES = """
2 | mien predict | missing argument
2 | mien predcit photo.jpg | did you mean 'predict'
2 | mien --verison | no such option
2 | mien predict photo.jpg --modle x | --model
2 | mien predict photo.jpg --threads four | 'four': should be a valid integer
2 | mien predict photo.jpg --threads -1 | -1
2 | mien predict '' | is empty
2 | mien predict https://example.org/me.jpg | https://example.org/me.jpg
2 | mien predict file:///tmp/me.jpg | /tmp/me.jpg
1 | mien predict 'nothing*.jpg' | nothing*.jpg
1 | mien predict --from-file none.txt | none.txt
1 | mien predict --from-file empty.txt | one path a line
2 | mien predict - - | twice
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
2 | mien predict photo.jpg --model '' | --model is empty
2 | mien predict photo.jpg --labels hapy | three (happy, neutral, sad)
2 | mien predict photo.jpg --labels eight | mien-small answers
2 | mien predict photo.jpg --detector mtcn | 'mtcnn'
1 | mien predict photo.jpg --detector yunet=none.onnx | none.onnx
2 | mien predict photo.jpg --faces all | 'whole'
2 | mien predict photo.jpg --min-confidence 70 | 70
2 | mien predict photo.jpg --coverage 95 | 95
2 | mien predict photo.jpg --coverage 0 | 0
2 | mien predict photo.jpg --provider gpu | cpu
2 | mien predict photo.jpg --quiet --verbose | exclude each other
2 | mien predict photo.jpg clip.mp4 | mien video
2 | mien video | missing argument
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
1 | mien data show nowhere | nowhere
2 | mien data show '' | is empty
2 | mien data show drawn --sheet nowhere/sheet.png | mkdir -p nowhere
1 | mien data import nowhere out | nowhere
2 | mien data import photos out --format folder | 'folders'
1 | mien data draw drawn | drawn
2 | mien data draw drawn2 --count none | --count
1 | mien data audit nowhere | nowhere
2 | mien evaluate mien-tiny --data drawn --image nowhere/p.png | mkdir -p nowhere
1 | mien evaluate mien-tinny --data drawn | 'mien-tiny'
1 | mien evaluate mien-tiny --data photos | photos
2 | mien evaluate mien-tiny --data drawn --labels hapy | hapy
1 | mien explain mien-tinny photo.jpg | 'mien-tiny'
1 | mien models none.onnx | none.onnx
1 | mien models words.onnx | words.onnx
2 | mien networks --size 2 | '2': should be greater than or equal to 8
2 | mien train | --data
2 | mien train smal --data drawn | 'small'
1 | mien train small --data nowhere | nowhere
2 | mien train tiny --data drawn --set fit.epoch=2 | epochs
2 | mien train tiny --data drawn --set epochs | epochs
1 | mien train --resume nowhere | nowhere
1 | mien doctor nowhere | nowhere
1 | mien export nowhere mine.onnx | nowhere
2 | mien export nowhere mine.pt | .onnx
2 | mien export nowhere gone/mine.onnx | mkdir -p gone
2 | mien quantize mien-tiny gone/mine.onnx --data drawn | mkdir -p gone
2 | mien calibrate mien-tiny mine.txt --data drawn | .onnx
2 | mien study poster | --data
2 | mien study nope --data drawn | nope
2 | mien serve --port many | --port
"""
CASES = [tuple(part.strip() for part in line.split(" | ")) for line in MISTAKES.strip().split("\n")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image, a video's name, a dataset, and files that are no models."""
    folder = tmp_path_factory.mktemp("mistakes")
    shutil.copy(ROOT / "examples" / "astronaut.jpg", folder / "photo.jpg")
    (folder / "photos").mkdir()
    write_image(folder / "photos" / "grey.png", np.full((60, 60, 3), 128, np.uint8))
    (folder / "clip.mp4").write_bytes(b"not a video")
    (folder / "words.onnx").write_text("not a model")
    (folder / "tiny.onnx").write_bytes(tiny_model(tiny_info().to_metadata()))
    (folder / "empty.txt").write_text("\n\n")
    write_dataset(draw_dataset(60, 0), folder / "drawn")
    return folder


@pytest.mark.parametrize(("code", "line", "said"), CASES, ids=[case[1] for case in CASES])
def test_a_mistake_is_one_line_and_a_hint(
    code: str, line: str, said: str, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    before = sorted(p.relative_to(place) for p in place.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        run(shlex.split(line)[1:])
    out, err = capsys.readouterr()
    if os.environ.get("MIEN_SHOW_MISTAKES"):
        with capsys.disabled():
            print(f"\n$ {line}\n{out}{err}[{ended.value.code}]")
    lines = err.splitlines()
    assert "Traceback" not in err
    assert ended.value.code == int(code), err
    error, hint = lines[-2:]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert 5 < len(hint) < 300
    assert len(error) < 300
    assert said.lower() in f"{error}\n{hint}".lower()
    assert out == ""
    assert sorted(p.relative_to(place) for p in place.rglob("*")) == before  # nothing was written
