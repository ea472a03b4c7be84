"""The predictions table: a model's logits for each image, beside the ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.data.ground_truth import consensus_targets, label_targets
from mien.data.sources.resize import resize_crops
from mien.errors import ConfigError, DataError, did_you_mean
from mien.model.classifier import softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

BATCH = 512


class Scorer(Protocol):
    """A model to evaluate: an ONNX file's classifier or a run folder's network."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, in the order of the logits."""
        ...

    @property
    def input_size(self) -> int:
        """Height and width of a crop, in pixels."""
        ...

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """One row per image of a split; arrays share their first axis.

    Attributes:
        labels: labels of the columns.
        logits_nk: float32 [n, k].
        raw_n: int64 [n], the dataset's label as an index into `labels`, -1 for another or none.
        consensus_n: int64 [n], the raters' majority as an index, -1 for none; None without votes.
        groups_n: int64 [n], duplicates of one image share a number.
        sources_n: str [n], the path or row of each image.
    """

    labels: tuple[str, ...]
    logits_nk: NDArray[np.float32]
    raw_n: NDArray[np.int64]
    consensus_n: NDArray[np.int64] | None
    groups_n: NDArray[np.int64]
    sources_n: NDArray[np.str_]

    @property
    def probs_nk(self) -> NDArray[np.float32]:
        """Probabilities, float32 [n, k]."""
        return softmax(self.logits_nk)


def predict_table(
    scorer: Scorer,
    split: Dataset,
    labels: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PredictionTable:
    """Classify every image of a split.

    Args:
        scorer: the model.
        split: one split of a dataset.
        labels: labels to choose among; all of the model's where empty. With fewer, the logits of
            the others are dropped, which renormalises the rest.
        progress: progress callback, called with (done, total).

    Raises:
        ConfigError: a label that the model does not have.
        DataError: none of the labels occurs in the split.
    """
    labels = labels or scorer.labels
    unknown = [label for label in labels if label not in scorer.labels]
    if unknown:
        raise ConfigError(
            f"{scorer.name} does not have the label {unknown[0]!r}",
            hint=did_you_mean(unknown[0], scorer.labels)
            + f"its labels are: {', '.join(scorer.labels)}",
        )
    raw = label_targets(split.labels_n, split.label_names, labels)
    consensus = None
    if split.votes_nk is not None:
        consensus = consensus_targets(split.votes_nk, split.vote_names, labels)
    if not (raw >= 0).any() and (consensus is None or not (consensus >= 0).any()):
        raise DataError(
            f"no image of {split.name}'s {split.splits_n[0]} split is labelled {', '.join(labels)}",
            hint=f"its labels are: {', '.join(split.label_names) or 'none'}",
        )
    parts = []
    for start in range(0, len(split), BATCH):
        images = np.asarray(split.images_nhw[start : start + BATCH])
        parts.append(scorer.logits(resize_crops(images, scorer.input_size)))
        progress(min(start + BATCH, len(split)), len(split))
    columns = [scorer.labels.index(label) for label in labels]
    return PredictionTable(
        labels=tuple(labels),
        logits_nk=np.concatenate(parts)[:, columns],
        raw_n=raw,
        consensus_n=consensus,
        groups_n=split.groups_n,
        sources_n=split.sources_n,
    )


def ground_truth_of(table: PredictionTable) -> tuple[str, NDArray[np.int64]]:
    """Return ('consensus', majority of the raters) where there are votes, else ('raw', labels)."""
    return ("raw", table.raw_n) if table.consensus_n is None else ("consensus", table.consensus_n)
