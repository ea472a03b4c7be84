"""The metadata of an ONNX model file, so that nothing is guessed from its name.

Every mien model takes uint8 pixels [n, 1, size, size] and gives float32 logits [n, k]; the
normalisation and the calibration temperature are nodes of its graph. Everything else is JSON under
one key of the file's metadata, with the version of this schema.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, ModelFileError, did_you_mean
from mien.installation import upgrade_command
from mien.labels import LABEL_SETS, label_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1
PRIOR_TOLERANCE = 1e-3
"""By how much the probabilities of a class prior may miss a sum of 1: files round them."""
METADATA_KEY = "mien"
MIN_SIZE, MAX_SIZE = 8, 1024
"""Height and width of a crop, in pixels."""
INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"
ALIGNMENT_NODE = "GridSample"
"""Type of the ONNX node of a spatial transformer; a graph has at most one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Another output of the same network, with another label set, such as FER2013's seven.

    Attributes:
        output: its name in the graph.
        labels: in the order of its logits.
        temperature: by which its logits are divided, inside the graph.
        training_prior: probability of each label in the training data; None if unknown.
    """

    output: str
    labels: tuple[str, ...]
    temperature: float = 1.0
    training_prior: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The description in an ONNX model file.

    Attributes:
        name: such as 'mien-small'.
        labels: in the order of the logits.
        input_size: height and width of the crop, in pixels.
        colour: 'grey'.
        alignment: id of the alignment of its training crops (mien.imaging.crop).
        temperature: by which the logits are divided, inside the graph; 1.0 if uncalibrated.
        unsure_below: default decision threshold, 0 to 1: below it a face is 'unsure'.
        precision: 'float32', or 'int8' if weights and activations were quantized.
        quantized: of an int8 file: 'from', the name of the float32 model; 'loss' of accuracy with
            its 'n'; fraction of predictions 'changed'; number of 'faces' for calibration. Else
            empty.
        weight_format: 'float16' for weights of 16 bits in the file, else 'float32'.
        network: name in the registry of networks.
        parameters: number of trainable parameters.
        multiply_adds: for one face.
        config_sha256: of the resolved training configuration.
        data: name, split and fingerprint of the training data.
        licence: of the weights.
        metrics: headline figures on validation data, each with n and interval; may be empty.
        coverage: for conformal prediction sets (mien.model.conformal): 'min_probability', the
            minimum probability of a label in a set, by coverage; 'n' faces and 'data' of the
            calibration; 'by', its ground truth: consensus or raw. Empty if not calibrated.
        created: ISO 8601 date and time, UTC.
        mien_version: that wrote the file.
        heads: further outputs, with other label sets.
        trained_labels: labels of the last layer's rows, for fine-tuning; empty if unknown.
        training_prior: probability of each of `labels` in the training data, above 0, sum 1; None
            if unknown. mien.predict.prior corrects probabilities from it to another prior.
        prior: class prior that the outputs have, a probability per label, above 0: the graph
            corrects its logits to it. None: that of the training data.
    """

    name: str
    labels: tuple[str, ...]
    input_size: int
    alignment: str
    colour: str = "grey"
    temperature: float = 1.0
    unsure_below: float = 0.0
    precision: str = "float32"
    quantized: dict[str, Any] = field(default_factory=dict)
    weight_format: str = "float32"
    network: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    config_sha256: str = ""
    data: str = ""
    licence: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    mien_version: str = ""
    heads: tuple[Head, ...] = ()
    trained_labels: tuple[str, ...] = ()
    training_prior: dict[str, float] | None = None
    prior: dict[str, float] | None = None

    def select_labels(self, labels: Sequence[str] = ()) -> tuple[ModelInfo, str]:
        """Return the description of the output with these labels, in any order, and its name.

        Metrics and prediction sets belong to the first output; others have none.

        Raises:
            ConfigError: no output has these labels.
        """
        # Sets, because the file decides the order of the logits, not the caller.
        if not labels or set(labels) == set(self.labels):
            return self, OUTPUT_NAME
        for head in self.heads:
            if set(labels) == set(head.labels):
                chosen = replace(
                    self,
                    labels=head.labels,
                    temperature=head.temperature,
                    # Metrics, prediction sets and prior were measured for the first output only.
                    metrics={},
                    coverage={},
                    training_prior=head.training_prior,
                    prior=None,
                )
                return chosen, head.output
        raise ConfigError(
            f"{self.name} cannot predict {', '.join(labels)}", hint=self._label_sets()[1]
        )

    def named_labels(self, name: str) -> tuple[str, ...]:
        """Return the labels of a set by its name, or spelt out ('happy,sad').

        Raises:
            ConfigError: there is no such set; the hint lists those of this model.
        """
        try:
            return label_set(name)
        except ConfigError as error:
            known, hint = self._label_sets()
            raise ConfigError(error.message, hint=did_you_mean(name, known) + hint) from error

    def _label_sets(self) -> tuple[list[str], str]:
        """Return the names of the model's label sets, and a sentence that lists them."""
        names, words = [], []
        for labels in (self.labels, *(head.labels for head in self.heads)):
            listed = ", ".join(labels)
            name = next((n for n, known in LABEL_SETS.items() if set(known) == set(labels)), None)
            names.append(name or listed.replace(", ", ","))
            words.append(f"{name} ({listed})" if name else listed)
        return names, f"{self.name} predicts {'; or '.join(words)}"

    def to_metadata(self) -> dict[str, str]:
        """Return the string properties to store in an ONNX file."""
        values = asdict(self, dict_factory=_without_unknown_priors)
        return {METADATA_KEY: json.dumps({"schema": SCHEMA_VERSION, **values})}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, path: str) -> ModelInfo:
        """Read the properties of the ONNX file at `path` (used in messages only).

        Raises:
            ModelFileError: no metadata of mien, invalid metadata, or a newer schema.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise ModelFileError(
                f"{path} has no mien metadata, so its labels and input are unknown",
                hint="export models with: mien export RUN model.onnx",
            )
        values = _parse(text, path)
        schema = values.pop("schema", None)
        if not isinstance(schema, int):
            raise ModelFileError(
                f"{path}: its metadata names no schema version", hint="export the model again"
            )
        if schema > SCHEMA_VERSION:
            raise ModelFileError(
                f"{path} has model schema {schema}; this mien reads up to {SCHEMA_VERSION}",
                hint=f"upgrade mien: {upgrade_command()}",
            )
        invalid = _invalid_keys(values)
        if invalid:
            found = ", ".join(f"{key} {values.get(key)!r:.80}" for key in invalid)
            raise ModelFileError(
                f"{path}: its metadata is invalid: {found}", hint="export the model again"
            )
        # Unknown keys are skipped: a later version of the same schema may add some.
        known = {f.name for f in fields(cls)}
        chosen = {key: value for key, value in values.items() if key in known}
        heads = tuple(
            Head(
                head["output"],
                tuple(head["labels"]),
                head["temperature"],
                head.get("training_prior"),
            )
            for head in values.get("heads", [])
        )
        # JSON has no tuples.
        labels, trained_labels = tuple(values["labels"]), tuple(values.get("trained_labels", ()))
        return cls(**{**chosen, "labels": labels, "heads": heads, "trained_labels": trained_labels})


def _invalid_keys(values: dict[str, Any]) -> list[str]:
    """Return the keys whose values are missing or invalid, in the order of their checks."""
    labels: Any = values.get("labels")
    size, heads = values.get("input_size"), values.get("heads", [])
    # A model with one label would predict it for everything, with a confidence of 1.
    if not _are_labels(labels) or len(labels) < 2:
        return ["labels"]  # other keys are checked against the labels
    valid = {
        "name": isinstance(values.get("name"), str),
        "input_size": isinstance(size, int) and MIN_SIZE <= size <= MAX_SIZE,
        # Grey is the only value so far: a model that needs another must be refused, not misread.
        "colour": values.get("colour", "grey") == "grey",
        "alignment": isinstance(values.get("alignment"), str),
        "coverage": _are_set_limits(values.get("coverage", {})),
        "heads": isinstance(heads, list) and all(map(_is_head, heads)),
        "trained_labels": _are_labels(values.get("trained_labels", [])),
        "training_prior": _is_positive_prior(values.get("training_prior"), labels),
        "prior": _is_positive_prior(values.get("prior"), labels),
    }
    return [key for key, is_valid in valid.items() if not is_valid]


def _without_unknown_priors(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the items as a dictionary; a prior that is not known has no key in the file."""
    priors = ("training_prior", "prior")
    return {key: value for key, value in items if key not in priors or value is not None}


def _is_prior(values: Any, labels: list[str]) -> bool:
    """Return whether this is None, or a probability for each label that sum to 1."""
    if values is None:
        return True
    return (
        isinstance(values, dict)
        and set(values) == set(labels)
        and all(isinstance(p, int | float) and 0 <= p <= 1 for p in values.values())
        and abs(sum(values.values()) - 1) <= PRIOR_TOLERANCE
    )


def _is_positive_prior(values: Any, labels: list[str]) -> bool:
    """Return whether this is None, or a prior by which one can divide."""
    return values is None or (_is_prior(values, labels) and min(values.values()) > 0)


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, list)
        and all(isinstance(label, str) for label in labels)
        and len(set(labels)) == len(labels)
    )


def _is_head(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and isinstance(values.get("output"), str)
        and isinstance(values.get("labels"), list)
        and len(values["labels"]) >= 2
        and isinstance(values.get("temperature"), float)
        and _is_positive_prior(values.get("training_prior"), values["labels"])
    )


def _are_set_limits(coverage: Any) -> bool:
    """Return whether `coverage` is empty, or holds limits from 0 to 1 by level."""
    if not isinstance(coverage, dict):
        return False
    limits = coverage.get("min_probability", None if coverage else {})
    return isinstance(limits, dict) and all(
        _is_fraction(level) and isinstance(limit, int | float) and 0 <= limit <= 1
        for level, limit in limits.items()
    )


def _is_fraction(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


def _parse(text: str, path: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ModelFileError(
            f"{path}: its mien metadata is not a JSON object", hint="export the model again"
        )
    return values
