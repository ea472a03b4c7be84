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
from mien.publish.licence import weights_licence
from mien.publish.prior import DIGITS, class_prior
from mien.publish.rewrite import refuse_form, with_info, write_model
from mien.train.loop.loader import sampling_factors
from mien.train.loop.loss import class_weights
from mien.train.loop.validate import true_labels
from mien.train.networks.registry import measure_cost
from mien.train.run.folder import load_ensemble, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder, RunScorer

MAX_DIFFERENCE = 1e-3
"""Largest difference between the exported file's logits and torch's that is accepted."""
OPSET = 18
UNSURE_BELOW = 0.5
"""Confidence below which a label is 'unsure': no expression has more than half of it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of `export_run`.

    Attributes:
        info: the description inside the file.
        max_difference: largest absolute difference of a logit, torch against ONNX.
        compared: number of images compared: the whole validation split.
        half_difference: largest change of a logit by fp16 weights; 0 without them.
        half_changed: number of images whose predicted label changes with fp16 weights.
    """

    info: ModelInfo
    max_difference: float
    compared: int
    half_difference: float = 0.0
    half_changed: int = 0


class ExportedGraph(nn.Module):
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
    """One output of the exported graph.

    Attributes:
        name: name of the output in the graph.
        labels: labels in the order of its logits.
        columns: columns of the network's logits that it takes.
        temperature: calibration temperature that divides them.
        training_prior: fraction of the training images of each label; None where one has none.
    """

    name: str
    labels: tuple[str, ...]
    columns: tuple[int, ...]
    temperature: float
    training_prior: dict[str, float] | None = None


def _columns(logits: Tensor, columns: tuple[int, ...]) -> Tensor:
    # Leading columns are a slice, which needs no constants in the graph.
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
    """Write the run's best network to `destination`, once its logits were compared with torch's.

    Args:
        path: the run folder.
        others: further run folders, for an ensemble: the mean of all logits.
        destination: the ONNX file; its card is written beside it.
        dataset: the run's dataset, with its train and validation splits.
        name: the model's name; mien-RECIPE where empty.
        note: text on the data for the model card.
        half: store the weights as fp16. They are rounded after the comparison with torch, and the
            change is reported separately; all metrics are of the rounded weights.

    Raises:
        ConfigError: the runs learnt different labels, or `destination` does not end in .onnx.
        ModelFileError: the exported file's logits differ by more than MAX_DIFFERENCE, or weights
            out of the range of fp16; nothing is written then.
    """
    refuse_form(destination)
    run = open_run(path)
    scorer = load_ensemble([path, *others])
    validation = dataset.split("validation")
    # All learnt classes at once: each output is a choice of these columns.
    learnt = replace(scorer, columns=tuple(range(len(run.recipe.learnt_labels))))
    logits = learnt.logits(validation.images_nhw)
    outputs = _outputs(run, dataset, logits)
    runs = [run, *(open_run(other) for other in others)]
    info = _describe(runs, scorer, dataset, outputs, name or f"mien-{run.recipe.name}")
    content = with_info(bytes(_to_onnx(ExportedGraph(scorer, outputs)).SerializeToString()), info)
    exported = Classifier.from_bytes(content, name=str(destination))
    difference = _compare(exported, outputs, logits, validation)
    change, changed = 0.0, 0
    if half:
        before = exported.logits(validation.images_nhw)
        content = to_fp16(with_info(content, replace(info, weight_format="float16")))
        exported = Classifier.from_bytes(content, name=str(destination))
        after = exported.logits(validation.images_nhw)
        change = float(np.abs(after - before).max(initial=0.0))
        changed = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    info, _ = write_model(exported, content, destination, dataset, "validation", note)
    return Exported(info, difference, len(logits), change, changed)


def _compare(
    exported: Classifier,
    outputs: Sequence[Output],
    logits_nk: NDArray[np.float32],
    validation: Dataset,
) -> float:
    """Return the largest difference of a logit from torch's; raise where it is too large.

    Raises:
        ModelFileError: it exceeds MAX_DIFFERENCE, or is not a number.
    """
    difference = 0.0
    for output in outputs:
        ours = logits_nk[:, list(output.columns)] / output.temperature
        theirs = exported.select_labels(output.labels).logits(validation.images_nhw)
        difference = max(difference, float(np.abs(theirs - ours).max(initial=0.0)))
    # Written so that NaN fails too.
    if not difference <= MAX_DIFFERENCE:
        raise ModelFileError(
            f"the exported network's logits differ from torch's by up to {difference:.2g} over "
            f"{len(logits_nk)} validation images; at most {MAX_DIFFERENCE:g} is accepted",
            hint="nothing was written; report this with the run's config.json",
        )
    return difference


def _outputs(run: RunFolder, dataset: Dataset, logits_nk: NDArray[np.float32]) -> list[Output]:
    """Return the recipe's labels and, where it has them, its further labels, each calibrated.

    Args:
        run: the run.
        dataset: its dataset.
        logits_nk: float32 [n, k], learnt logits of the validation split.
    """
    train, validation = dataset.split("train"), dataset.split("validation")
    outputs = [(OUTPUT_NAME, run.recipe.predicted_labels)]
    extra = run.recipe.extra_labels
    if extra:
        outputs.append((f"{OUTPUT_NAME}_{extra}", label_set(extra)))
    found = []
    for name, labels in outputs:
        columns = run.recipe.columns_of(labels)
        y_true = true_labels(validation, run.recipe, labels)
        known = y_true >= 0
        temperature = fit_temperature(logits_nk[known][:, list(columns)], y_true[known])
        prior = _learned_prior(true_labels(train, run.recipe, labels), labels, run.recipe)
        found.append(Output(name, labels, columns, temperature, prior))
    return found


def _learned_prior(
    y_true_n: NDArray[np.int64], labels: Sequence[str], recipe: Recipe
) -> dict[str, float] | None:
    """Return the class prior that a network has learned; None where a label has no image.

    It is that of the training data times the weights of the classes and the frequencies of
    sampling; a logit adjustment of tau leaves the power 1 - tau of the data's. With raters' votes
    weights and sampling do not count: an image's soft label depends on the image alone, so another
    mix of images changes which faces are learned, and hardly what is learned of each.
    """
    prior = class_prior(y_true_n, labels)
    if prior is None:
        return None
    fractions_k = torch.tensor([prior[label] for label in labels])
    # What the training did to the prior: adjusted logits, sampling and class weights each multiply
    # it.
    learned_k = fractions_k ** (1 - recipe.loss.logit_adjustment)
    if recipe.targets.kind == "votes":
        return _as_prior(learned_k, labels)
    learned_k = learned_k * sampling_factors(fractions_k, recipe.fit.sampling)
    counts_k = fractions_k * float((y_true_n >= 0).sum())
    weights_k = class_weights(counts_k, recipe.loss)
    if weights_k is not None:
        learned_k = learned_k * weights_k
    return _as_prior(learned_k, labels)


def _as_prior(weights_k: Tensor, labels: Sequence[str]) -> dict[str, float]:
    probs = (weights_k / weights_k.sum()).tolist()
    return {label: round(p, DIGITS) for label, p in zip(labels, probs, strict=True)}


def fit_temperature(
    logits_nk: NDArray[np.float32], y_true_n: NDArray[np.int64], spread: float = math.log(2)
) -> float:
    """Return the temperature that minimises the log loss (Guo et al. 2017, arXiv:1706.04599).

    Below 1 its logarithm has a normal prior around 0 with the standard deviation `spread`. Without
    it a small split that is classified without an error asks for a temperature of 0, and every face
    becomes certain; with hundreds of faces it makes no difference (bench/temperature.py). Above 1,
    where the network was too sure, the likelihood decides alone.

    Args:
        logits_nk: float32 [n, k].
        y_true_n: int64 [n], 0 to k - 1.
        spread: above 0; infinite is no prior.

    Returns:
        Temperature from 0.1 to 10.
    """
    logits = logits_nk.astype(np.float64)
    rows = np.arange(len(y_true_n))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        top = scaled.max(axis=1)
        log_sum = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        prior = (min(log_temperature, 0.0) / spread) ** 2 / 2
        return float((log_sum - scaled[rows, y_true_n]).sum() + prior)

    # Golden-section search: the loss has a single minimum in the logarithm of the temperature.
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
        trained_labels=run.recipe.learnt_labels,
        heads=tuple(Head(o.name, o.labels, o.temperature, o.training_prior) for o in outputs[1:]),
        training_prior=outputs[0].training_prior,
        unsure_below=UNSURE_BELOW,
        network=f"{SEVERAL} {names}" if others else names,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        # Sorted, so that the order of keys in the recipe does not change it.
        config_sha256=hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        data=f"{dataset.name}, train split, fingerprint {dataset.fingerprint}",
        licence=weights_licence(r.recipe for r in runs),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        mien_version=__version__,
    )


def _to_onnx(graph: ExportedGraph) -> onnx.ModelProto:
    size = graph.size
    # Two images: torch.export would take a batch of one for a constant.
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    # The exporter logs that torchvision, which we do not use, is missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            input_names=[INPUT_NAME],
            output_names=[output.name for output in graph.outputs],
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
