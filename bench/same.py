"""Checks whether two versions of mien give bit-identical results.

    python bench/same.py --mien OLD/.venv/bin/mien --write before.json
    python bench/same.py --mien NEW/.venv/bin/mien --against before.json

Both versions are run from the command line, so that their modules may differ. Compares digests of
- predictions of every shipped model on the examples, and on 500 faces of a dataset (`--data`, a
  NumPy file as in docs/data.md; omitted without it),
- the weights of a small recipe after two epochs on drawn faces,
- the rows of three short videos (one face, two faces, a cut),
- the verdicts of a study of four trainings on drawn faces.
Key names are ignored, values are compared. Exits with 1 if a digest differs.

`--part fit` compares one of the four parts only. `--detector mtcnn` detects the faces of the
examples with that detector, for versions whose default differs. A version without an environment
of its own is any executable that runs it: PYTHONPATH=OLD/src exec python -m mien "$@".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FACES = 500
STUDY = """
title = "same"
recipe = "poster"
seeds = 2
train = 200
validation = 60
set = { "fit.epochs" = 1, "network.width" = 8, "fit.threads" = 1 }

[[factor]]
name = "rate"
title = "learning rate"
[factor.cells]
"low" = { "optimizer.lr" = 0.0001 }
"high" = { "optimizer.lr" = 0.01 }
[[factor.claims]]
words = "0.01 is better than 0.0001."
comparisons = [{ higher = "high", lower = "low", measure = "accuracy", MIN = 0.01 }]
"""


def run(mien: Path, *arguments: object, cwd: Path) -> str:
    """Run a command of mien; return its standard output.

    Exit codes 1 and 3 (some images unreadable, or without a face) are results like others.
    """
    done = subprocess.run(
        [str(mien), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{mien} {arguments} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def digest(content: bytes | str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 digest."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:16]


def numbers(value: Any) -> list[Any]:
    """Return the numbers and labels in a JSON value, in order, without the keys."""
    if isinstance(value, dict):
        return [x for inner in value.values() for x in numbers(inner)]
    if isinstance(value, list):
        return [x for inner in value for x in numbers(inner)]
    return [value] if isinstance(value, int | float) or value in LABELS else []


PARTS = ("predictions", "fit", "videos", "study")
LABELS = {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "contempt", "unsure"}


def predictions(
    mien: Path, folder: Path, data: Path | None, detector: str | None = None
) -> dict[str, str]:
    """Return a digest for each shipped model and each set of images."""
    found = {}
    choice = () if detector is None else ("--detector", detector)
    models = [row["name"] for row in rows_of(json.loads(run(mien, "models", "--json", cwd=folder)))]
    for model in models:
        answer = run(mien, "predict", EXAMPLES, "--json", "--model", model, *choice, cwd=folder)
        found[f"{model} on the examples"] = digest(json.dumps(faces(answer)))
    if data is not None:
        crops = folder / "faces"
        crops.mkdir()
        with np.load(data) as arrays:
            rows = np.flatnonzero(arrays["usage"] == 1)[:FACES]
            for row in rows:
                Image.fromarray(arrays["images"][row]).save(crops / f"{row:05d}.png")
        for model in models:
            answer = run(
                mien, "predict", crops, "--faces", "whole", "--json", "--model", model, cwd=folder
            )
            found[f"{model} on {len(rows)} faces"] = digest(json.dumps(faces(answer)))
    return found


def rows_of(value: Any) -> list[dict[str, Any]]:
    """Return the list of rows in a JSON answer, whatever it is called."""
    if isinstance(value, list):
        return value
    return next(inner for inner in value.values() if isinstance(inner, list))


def faces(answer: str) -> list[list[Any]]:
    """Return probabilities and labels of each face in the output of `mien predict --json`."""
    found = []
    for reading in json.loads(answer):
        for face in reading["faces"]:
            found.append([face["label"], face["confidence"], list(face["probabilities"].values())])
    return found


def training(mien: Path, folder: Path) -> dict[str, str]:
    """Return the digest of the weights after two epochs of a small recipe."""
    run(mien, "data", "draw", "drawn", "--count", 300, "--seed", 3, cwd=folder)
    run(
        mien, "train", "poster", "--data", "drawn", "--set", "fit.epochs=2", "--set",
        "network.width=8", "--set", "fit.threads=1", "--out", "run", cwd=folder,
    )  # fmt: skip
    from safetensors.numpy import load_file

    weights = hashlib.sha256()
    for path in sorted((folder / "run").rglob("*.safetensors")):
        for _, tensor in sorted(load_file(path).items()):
            weights.update(tensor.tobytes())
    return {"weights after two epochs": weights.hexdigest()[:16]}


def videos(mien: Path, folder: Path) -> dict[str, str]:
    """Return a digest of the rows of three videos."""
    first, second = (
        np.asarray(Image.open(EXAMPLES / name).convert("RGB").resize((256, 256)))
        for name in ("astronaut.jpg", "grace_hopper.jpg")
    )
    black = np.zeros_like(first)
    scenes = {
        "one face": [np.hstack([first, np.roll(black, n, 1)]) for n in range(30)],
        "two faces": [np.hstack([first, second]) for _ in range(30)],
        "a cut": [np.hstack([first if n < 15 else second, black]) for n in range(30)],
    }
    found = {}
    for name, frames in scenes.items():
        path = folder / f"{name.replace(' ', '-')}.mp4"
        write_video(path, frames)
        # By its name: each row has the path, and the temporary folder differs in each run.
        rows = run(mien, "video", path.name, "--csv", cwd=folder)
        found[f"rows of {name}"] = digest(rows.partition("\n")[2])
    return found


def write_video(path: Path, frames: list[Any]) -> None:
    """Write frames, uint8 [h, w, 3] RGB, as an H.264 video of 25 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def study(mien: Path, folder: Path) -> dict[str, str]:
    """Return a digest of the verdicts of a small study."""
    # Drawing is deterministic, so that `--part study` alone trains on the faces of the whole run.
    if not (folder / "drawn").exists():
        run(mien, "data", "draw", "drawn", "--count", 300, "--seed", 3, cwd=folder)
    wanted = ["study", "same.toml", "--data", "drawn", "--out", "study", "--jobs", "1", "--yes"]
    # The key was called 'least' before it was called 'min_difference'.
    for key in ("min_difference", "least"):
        (folder / "same.toml").write_text(STUDY.replace("MIN", key))
        if (
            subprocess.run(
                [str(mien), *wanted], cwd=folder, capture_output=True, check=False
            ).returncode
            == 0
        ):
            break
    report = json.loads(next((folder / "study").glob("*.json")).read_text())
    return {"verdicts of a study": digest(json.dumps(sorted(verdicts(report))))}


def verdicts(value: Any) -> list[str]:
    """Return every verdict in a study's report."""
    known = {"supported", "not supported", "undecided"}
    if isinstance(value, dict):
        return [x for inner in value.values() for x in verdicts(inner)]
    if isinstance(value, list):
        return [x for inner in value for x in verdicts(inner)]
    return [value] if value in known else []


def main() -> None:
    """Measure, then write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mien", type=Path, default=Path(sys.executable).with_name("mien"))
    parser.add_argument("--data", type=Path, help="faces as of docs/data.md, a NumPy file")
    parser.add_argument("--write", type=Path, help="file for the digests")
    parser.add_argument("--against", type=Path, help="digests to compare with")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all four")
    parser.add_argument("--detector", help="face detector on the examples (default: the version's)")
    options = parser.parse_args()
    wanted = options.part or PARTS
    folder = Path(tempfile.mkdtemp(prefix="mien-same-"))
    mien = options.mien.absolute()
    try:
        found: dict[str, str] = {}
        if "predictions" in wanted:
            found |= predictions(mien, folder, options.data, options.detector)
        for name, measure in (("fit", training), ("videos", videos), ("study", study)):
            if name in wanted:
                found |= measure(mien, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.write:
        options.write.write_text(json.dumps(found, indent=1))
    before = json.loads(options.against.read_text()) if options.against else {}
    # A part that was not asked for is not compared; a digest that is missing within one differs.
    if options.part:
        before = {name: value for name, value in before.items() if name in found}
    different = [name for name in before if before[name] != found.get(name)]
    for name, value in found.items():
        verdict = "" if not before else "  DIFFERS" if name in different else "  same"
        print(f"{value}  {name}{verdict}")
    if different:
        raise SystemExit(f"{len(different)} of {len(before)} differ")


if __name__ == "__main__":
    main()
