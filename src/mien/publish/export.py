"""A run folder to one ONNX file: pixels in, calibrated logits out, its description inside."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mien import __version__
from mien.errors import ModelFileError
from mien.explain.onnx_graph import SEVERAL
from mien.imaging.crop import ALIGNMENT_ID
from mien.labels import label_set
from mien.model.classifier import Classifier
from mien.model.fp16 import to_fp16
from mien.model.info import INPUT_NAME, OUTPUT_NAME, Head, ModelInfo
from mien.publish.rewrite import refuse_form, with_info, write_model
from mien.train.loop.validate import true_labels
from mien.train.networks.registry import measure_cost
from mien.train.run.folder import load_ensemble, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.run.folder import RunFolder, RunScorer

MAX_DIFFERENCE = 1e-3
"""Largest difference between the exported file's logits and torch's that is accepted."""
OPSET = 18
UNSURE_BELOW = 0.5
"""Confidence below which a reading is 'unsure': no expression has more than half of it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export_run` made.

    Attributes:
        info: the description inside the file.
        max_difference: largest absolute difference of a logit, torch against ONNX.
        compared: images behind it: the whole validation split.
        half_difference: largest change of a logit by storing weights in 16 bits, where they are.
        half_changed: images that are answered otherwise by that.
    """

    info: ModelInfo
    max_difference: float
    compared: int
    half_difference: float = 0.0
    half_changed: int = 0


class Answer(nn.Module):
    """The graph that is exported: uint8 pixels [n, 1, s, s] → logits / T, for each output."""

    def __init__(self, scorer: RunScorer[nn.Module], outputs: Sequence[Output]) -> None:
        super().__init__()
        self.model = scorer.model
        self.size = scorer.input_size
        self.outputs = outputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return float32 logits [n, k] for each output."""
        logits = self.model(pixels.float())
        return tuple(_columns(logits, o.columns) / o.temperature for o in self.outputs)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the exported graph: which learnt labels, calibrated by which temperature."""

    name: str
    labels: tuple[str, ...]
    columns: tuple[int, ...]
    temperature: float


def _columns(logits: Tensor, columns: tuple[int, ...]) -> Tensor:
    # The first so many are a slice, which needs no constants in the graph.
    if columns == tuple(range(len(columns))):
        return logits[:, : len(columns)]
    return logits[:, list(columns)]


def export_run(
    path: Path,
    destination: Path,
    dataset: Dataset,
    *,
    name: str = "",
    note: str = "",
    half: bool = False,
    others: Sequence[Path] = (),
) -> Exported:
    """Write the run's best network to `destination`, once it was shown to answer as torch does.

    Args:
        path: of the run folder.
        others: run folders whose networks answer together with it: the mean of their logits.
        destination: the ONNX file; its card is written beside it.
        dataset: with the validation split that the run was chosen by.
        name: of the model; that of the recipe where empty.
        note: words on the data for the model card.
        half: store the weights in 16 bits. They are rounded after the comparison with torch, and
            what that changes is told apart from it; all figures are of the rounded ones.

    Raises:
        ConfigError: the runs learnt different labels, or `destination` does not end in .onnx.
        ModelFileError: the exported file's logits differ by more than MAX_DIFFERENCE, or weights
            do not fit into 16 bits; nothing is written then.
    """
    refuse_form(destination)
    run = open_run(path)
    scorer = load_ensemble([path, *others])
    validation = dataset.split("validation")
    learnt = replace(scorer, columns=tuple(range(len(run.recipe.learnt_labels))))
    logits = learnt.logits(validation.images_nhw)
    outputs = _outputs(run, validation, logits)
    runs = [run, *(open_run(other) for other in others)]
    info = _describe(runs, scorer, dataset, outputs, name or f"mien-{run.recipe.name}")
    content = with_info(bytes(_to_onnx(Answer(scorer, outputs)).SerializeToString()), info)
    difference = 0.0
    exported = Classifier.from_bytes(content, name=str(destination))
    for output in outputs:
        ours = logits[:, list(output.columns)] / output.temperature
        theirs = exported.answering(output.labels).logits(validation.images_nhw)
        difference = max(difference, float(np.abs(theirs - ours).max(initial=0.0)))
    if not difference <= MAX_DIFFERENCE:
        raise ModelFileError(
            f"the exported network's logits differ from torch's by up to {difference:.2g} over "
            f"{len(logits)} validation images; at most {MAX_DIFFERENCE:g} is accepted",
            hint="nothing was written; report this with the run's config.json",
        )
    change, changed = 0.0, 0
    if half:
        before = exported.logits(validation.images_nhw)
        content = to_fp16(with_info(content, replace(info, stored="float16")))
        exported = Classifier.from_bytes(content, name=str(destination))
        after = exported.logits(validation.images_nhw)
        change = float(np.abs(after - before).max(initial=0.0))
        changed = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    info, _ = write_model(exported, content, destination, dataset, "validation", note)
    return Exported(info, difference, len(logits), change, changed)


def _outputs(run: RunFolder, split: Dataset, logits_nk: NDArray[np.float32]) -> list[Output]:
    """Return the recipe's answers and, where it has them, its further labels, each calibrated."""
    wanted = [(OUTPUT_NAME, run.recipe.answer_labels)]
    extra = run.recipe.extra_labels
    if extra:
        wanted.append((f"{OUTPUT_NAME}_{extra}", label_set(extra)))
    found = []
    for name, labels in wanted:
        columns = run.recipe.columns_of(labels)
        right = true_labels(split, run.recipe, labels)
        clear = right >= 0
        temperature = fit_temperature(logits_nk[clear][:, list(columns)], right[clear])
        found.append(Output(name, labels, columns, temperature))
    return found


def fit_temperature(logits_nk: NDArray[np.float32], y_true_n: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the log loss (Guo et al. 2017, arXiv:1706.04599).

    A golden-section search over its logarithm, from 1/10 to 10; one number cannot overfit.
    """
    logits = logits_nk.astype(np.float64)
    rows = np.arange(len(y_true_n))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        top = scaled.max(axis=1)
        log_sum = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float((log_sum - scaled[rows, y_true_n]).mean())

    low, high = -math.log(10), math.log(10)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 4)


def _describe(
    runs: Sequence[RunFolder],
    scorer: RunScorer[nn.Module],
    dataset: Dataset,
    outputs: Sequence[Output],
    name: str,
) -> ModelInfo:
    run, *others = runs
    names = " and ".join(r.recipe.network.name for r in runs)
    recipes = [r.recipe.to_dict() for r in runs]
    recipe = recipes if others else recipes[0]
    cost = measure_cost(scorer.model, run.input_size)
    return ModelInfo(
        name=name,
        labels=scorer.labels,
        input_size=run.input_size,
        alignment=ALIGNMENT_ID,
        temperature=outputs[0].temperature,
        learnt=run.recipe.learnt_labels,
        heads=tuple(Head(o.name, o.labels, o.temperature) for o in outputs[1:]),
        unsure_below=UNSURE_BELOW,
        network=f"{SEVERAL} {names}" if others else names,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        config_sha256=hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        data=f"{dataset.name}, train split, fingerprint {dataset.fingerprint}",
        licence="Apache-2.0",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        mien_version=__version__,
    )


def _to_onnx(answer: Answer) -> onnx.ModelProto:
    size = answer.size
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    # The exporter logs that torchvision, which we do not use, is missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            answer.eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=[output.name for output in answer.outputs],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelFileError("torch exported nothing", hint="report this with the run's config")
    model = program.model_proto
    for node in model.graph.node:  # the exporter leaves whole stack traces of ours in each node
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    return model
