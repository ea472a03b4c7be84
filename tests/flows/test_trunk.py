"""The whole trunk through the command line, on drawn faces: draw, train, export, grade, read."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.patience import PATIENCE_S, child, until

from mien.errors import ModelFileError
from mien.imaging.codec import write_image

MIEN = str(Path(sys.executable).with_name("mien"))
TINY = ["--set", "network.width=8", "--set", "network.hidden=16", "--set", "fit.threads=1"]
LEARNS = ["--set", "network.conv_batch_norm=true", "--set", "fit.epochs=25"]


def mien(*arguments: object, code: int = 0, **options: object) -> str:
    command = [MIEN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return str(done.stderr if code else done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trunk")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    mien("data", "draw", folder / "data", "--count", 360)
    return folder / "data"


@pytest.fixture(scope="module")
def run(folder: Path, data: Path) -> Path:
    out = mien("train", "poster", "--data", data, *TINY, *LEARNS, "--set", "optimizer.lr=0.003",
               "--out", folder / "run")  # fmt: skip
    assert "best epoch" in out
    return folder / "run"


@pytest.fixture(scope="module")
def model(folder: Path, run: Path) -> Path:
    out = mien("export", run, folder / "model.onnx")
    assert "largest difference from torch" in out
    return folder / "model.onnx"


def test_show(data: Path) -> None:
    about = json.loads(mien("data", "show", data, "--json"))
    assert about["name"] == "drawn"
    assert about["n"] == 360
    assert "drawn people held out" in about["split_rule"]
    assert (data / "contact-sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "drawn: 360 images" in mien("data", "show", data)


def test_run_and_model_are_graded_alike(data: Path, run: Path, model: Path, folder: Path) -> None:
    graded = [
        json.loads(mien("evaluate", m, "--data", data, "--json", "--image", folder / "e.png"))
        for m in (run, model)
    ]
    assert graded[0]["n"] == graded[1]["n"] > 50
    assert graded[0]["confusion"] == graded[1]["confusion"]
    assert graded[0]["accuracy"] == graded[1]["accuracy"]
    assert graded[0]["accuracy"]["value"] > 0.5
    assert graded[0]["consensus"] is None
    assert (folder / "e.png").read_bytes().startswith(b"\x89PNG")
    assert "raw label, n = " in mien("evaluate", model, "--data", data, cwd=folder)


def test_figures_are_printed_even_where_the_image_cannot_be_written(
    data: Path, model: Path, folder: Path
) -> None:
    (folder / "taken.png").mkdir(exist_ok=True)
    nowhere = Path("/proc/taken.png")  # its folder is there, and takes no files
    for command in (
        ["evaluate", model, "--data", data, "--json", "--image"],
        ["data", "show", data, "--json", "--sheet"],
    ):
        done = subprocess.run(
            [MIEN, *map(str, command), str(nowhere)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert json.loads(done.stdout)["n"] > 50
        assert f"error: cannot write {nowhere}: " in done.stderr
        refused = subprocess.run(
            [MIEN, *map(str, command), str(folder / "taken.png")], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (refused.returncode, refused.stdout) == (2, "")  # before any work
        assert "taken.png is a folder" in refused.stderr


def test_a_run_knows_its_data_and_nothing_is_written_here(
    run: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [MIEN, "evaluate", run, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] > 50
    assert f"data: {data}, which the run was trained on; split: validation" in done.stderr
    assert f"images: {run / 'evaluation-validation.png'}" in done.stderr
    again = subprocess.run([MIEN, "evaluate", run], capture_output=True, text=True, check=False)
    assert "images, replacing earlier ones" in again.stderr
    beside = subprocess.run(
        [MIEN, "evaluate", model, "--data", data], capture_output=True, text=True
    )
    assert str(model.with_name("model-evaluation-drawn-validation.png")) in beside.stderr
    shipped = subprocess.run(
        [MIEN, "evaluate", "mien-tiny", "--data", data], capture_output=True, text=True
    )
    assert "no plots were written; --image FILE writes them" in shipped.stderr
    assert not list(tmp_path.iterdir())


def test_a_finished_run_is_called_so_and_moved_data_are_named(
    run: Path, data: Path, tmp_path: Path
) -> None:
    moved, copy = tmp_path / "moved data", tmp_path / "a run"
    shutil.copytree(data, moved)
    shutil.copytree(run, copy)
    done = subprocess.run(
        [MIEN, "train", "--resume", copy, "--data", moved], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{copy} was finished already, after epoch " in done.stderr
    assert f"next: mien evaluate '{copy}' --data '{moved}' --split validation" in done.stderr


def test_int8_that_is_refused_leaves_the_float_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mien.cli import main
    from mien.publish import quantize as quantised

    def refuse(*args: object, **kwargs: object) -> None:
        raise ModelFileError("int8 loses 3.00 points", hint="a larger max_loss accepts more")

    monkeypatch.setattr(quantised, "quantize_model", refuse)
    path = tmp_path / "m.onnx"
    monkeypatch.setattr(sys, "argv", ["mien", "export", str(run), str(path), "--int8"])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert f"{tmp_path / 'm.int8.onnx'} was not written, {path} and its card were" in err
    assert "nothing was written" not in err
    assert {file.name for file in tmp_path.iterdir()} == {"m.onnx", "m.md"}


def test_the_model_reads_images(model: Path, folder: Path) -> None:
    from mien.data.drawn import draw_face

    rng = np.random.default_rng(5)
    for i in range(12):
        write_image(folder / "in" / f"{i:02d}.png", draw_face("happy", rng, 96))
    out = mien("predict", folder / "in", "--faces", "whole", "--model", model, "--json")
    labels = [reading["faces"][0]["label"] for reading in json.loads(out)]
    assert len(labels) == 12
    assert labels.count("happy") >= 7


def test_networks_print_their_cost() -> None:
    head, *lines = mien("networks").splitlines()
    assert head.split() == ["network", "parameters", "multiply-adds", "about"]
    assert [line.split()[0] for line in lines] == [
        "poster",
        "tiny",
        "small",
        "base",
        "large",
        "face-resnet",
    ]
    costs = [re.match(r"\S+ +([\d,]+) +([\d,.]+) M +\S", line) for line in lines]
    assert all(costs)


def test_ctrl_c_leaves_a_run_that_can_be_used_and_resumed(folder: Path, data: Path) -> None:
    path = folder / "stopped"
    command = [MIEN, "train", "poster", "--data", str(data), *TINY, "--out", str(path),
               "--set", "fit.epochs=500"]  # fmt: skip
    with child(command, stderr=subprocess.PIPE, text=True) as training:
        until(lambda: training.poll() is not None or (path / "metrics.jsonl").exists())
        training.send_signal(signal.SIGINT)
        _, words = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 130, words
    assert "training interrupted" in words
    assert f"resume: mien train --resume {path}\n" in words
    assert "Traceback" not in words
    mien("evaluate", path, "--data", data)
    config = json.loads((path / "config.json").read_text())
    done = len((path / "metrics.jsonl").read_text().splitlines())
    config["recipe"]["fit"]["epochs"] = done + 1
    (path / "config.json").write_text(json.dumps(config))
    mien("train", "--resume", path)
    assert len((path / "metrics.jsonl").read_text().splitlines()) == done + 1


@pytest.fixture
def places(data: Path, run: Path, tmp_path: Path) -> dict[str, Path]:
    return {"DATA": data, "RUN": run, "HERE": tmp_path}


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (["train", "smal", "--data", "DATA"], 2, "there is no recipe smal", "did you mean 'small'"),
        (["train"], 2, "mien train needs a recipe and --data DIR", "for example"),
        (["train", "poster", "--data", "nowhere"], 1, "is not a dataset of mien", "create one"),
        (["train", "poster", "--data", "DATA", "--set", "fit.epoch=3"], 2,
         "unknown setting fit.epoch", "did you mean 'epochs'?"),
        (["train", "poster", "--data", "DATA", "--set", "network.withd=3"], 2,
         "unknown setting network.withd", "did you mean 'width'?"),
        (["train", "poster", "--data", "DATA", "--set", "targets.kind=votes"], 2,
         "drawn has no votes", "--set targets.kind=auto"),
        (["train", "poster", "--data", "DATA", "--epochs", "2"], 2, "no option --epochs",
         "--set fit.epochs=2"),
        (["train", "poster", "--data", "DATA", "--set", "lr=1"], 2, "unknown setting lr",
         "did you mean 'optimizer.lr'?"),
        (["export", "RUN", "m.pt"], 2, "the suffix is .pt", "the suffix must be .onnx"),
        (["evaluate", "mien-tiny"], 2, "does not record which data", "--data DIR"),
        (["evaluate", "RUN", "--split", "val"], 2, "no split 'val'", "did you mean 'validation'?"),
        (["train", "poster", "--data", "DATA", "--set", "fit.batch_size=5000"], 1,
         "fewer than one batch of 5000", "--set fit.batch_size="),
        (["train", "poster", "--data", "DATA", "--set", "network.depth=9"], 2,
         "network.depth: 9 blocks", "5"),
        (["train", "poster", "--data", "DATA", "--set", "fit.init_from=nowhere"], 1,
         "fit.init_from: there is no model nowhere", "mien-small"),
        (["train", "small", "--data", "DATA", "--set", "fit.init_from=RUN"], 2,
         "is not this recipe's", "leave fit.init_from out"),
        (["train", "poster", "--data", "DATA", "--set", "distillation.teachers=['nowhere']"], 1,
         "nowhere is not a run folder", "mien train wrote"),
        (["train", "poster", "--resume", "RUN"], 2, "--resume uses the run's own recipe",
         "leave them out"),
        (["train", "--resume", "nowhere"], 1, "is not a run folder", "mien train wrote"),
        (["evaluate", "nowhere.onnx", "--data", "DATA"], 1, "there is no model", "run folder"),
        (["evaluate", "RUN", "--data", "DATA", "--split", "test"], 1, "no test split", "it has:"),
        (["evaluate", "RUN", "--data", "DATA", "--labels", "seven"], 2, "does not have the label",
         "its labels are: happy, neutral, sad"),
        (["export", "nowhere", "m.onnx"], 1, "is not a run folder", "mien train wrote"),
        (["data", "import", "nowhere", "out"], 1, "nowhere does not exist", "check the path"),
        (["data", "draw", "DATA"], 1, "exists already", "set --force to replace it"),
        (["data", "show", "nowhere"], 1, "is not a dataset of mien", "mien data import"),
    ],
)  # fmt: skip
def test_mistakes_get_two_lines(
    arguments: list[str], code: int, error: str, hint: str, places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from mien.cli import main

    monkeypatch.chdir(places["HERE"])
    # In this process: sixteen imports of torch would take longer than all the rest.
    monkeypatch.setattr(sys, "argv", ["mien", *(_placed(a, places) for a in arguments)])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("error: ")
    assert error in lines[-2]
    assert lines[-1].startswith("hint: ")
    assert hint in lines[-1]
    assert not list(places["HERE"].glob("runs/*"))  # a run that has learnt nothing is not left


def _placed(argument: str, places: dict[str, Path]) -> str:
    name, equals, value = argument.rpartition("=")
    return f"{name}{equals}{places.get(value, value)}"
