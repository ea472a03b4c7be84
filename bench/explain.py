"""Measures where a model looks on real faces, and runs the sanity check of its maps.

    python bench/explain.py MODEL --data DIR [--faces 40] [--checked 12] [--draws 5]

MODEL is an ONNX file or a run folder, DIR a dataset. For each label, `--faces` correctly predicted
validation faces are explained. Prints the fraction of the maps' positive part in each third of the
crop, with the 95% interval of its mean; compare the labels. The sanity check must pass.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mien.cli.explain import load_explainable
from mien.data.dataset import load_dataset
from mien.explain.explain import FaceExplanation, check_maps, explain, thirds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=40)
    parser.add_argument("--checked", type=int, default=12)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    model = load_explainable(arguments.model, threads=1)
    split = load_dataset(arguments.data).split("validation")
    rng = np.random.default_rng(0)
    chosen: list[FaceExplanation] = []
    for answer, label in enumerate(model.info.labels):
        own = np.flatnonzero(split.labels_n == split.label_names.index(label))
        own = rng.permutation(own)[: 4 * arguments.faces]
        own = own[model.logits(np.asarray(split.images_nhw[own])).argmax(axis=1) == answer]
        start = time.perf_counter()
        done = explain(model, np.asarray(split.images_nhw[own[: arguments.faces]]), draws=0)
        seconds = (time.perf_counter() - start) / len(done.faces)
        print(f"{label}, n = {len(done.faces)}, {seconds:.2f} s a face")
        for method in done.faces[0].maps:
            fractions = np.array([list(thirds(face.maps[method]).values()) for face in done.faces])
            half = 1.96 * fractions.std(axis=0, ddof=1) / np.sqrt(len(fractions))
            parts = [
                f"{m:.0%} ± {h:.0%}" for m, h in zip(fractions.mean(axis=0), half, strict=True)
            ]
            print(f"  {method:9} upper, middle, lower third: {', '.join(parts)}")
        chosen += done.faces[: arguments.checked // len(model.info.labels)]
    check = check_maps(model, chosen, done.side, done.patch, arguments.draws)
    print(f"sanity check, n = {check.sample}")
    for level in check.levels:
        figures = [
            f"{method} {s.spearman:+.2f} ± {s.spearman_sd:.2f} (absolute "
            f"{s.spearman_absolute:+.2f}, SSIM {s.ssim:.2f})"
            for method, s in level.similarity.items()
        ]
        print(f"  last {level.layers} layers random: {'; '.join(figures)}")


if __name__ == "__main__":
    main()
