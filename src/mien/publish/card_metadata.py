"""The YAML at the head of a model card, by which a hub lists, filters and ranks a model.

Keys after https://huggingface.co/docs/hub/model-cards; `model-index` after Papers with Code's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.model.info import ModelInfo

METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
}
"""Metrics of a model file that go onto a hub, and their names for readers."""
TRUTHS = {"consensus": "rater consensus", "raw": "raw label"}
CONFIDENCE = 0.95
"""Level of the intervals in model files."""

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def card_metadata(info: ModelInfo, repository: str) -> dict[str, Any]:
    """Return the metadata of a model card.

    Args:
        info: the description in the model file; its metrics become the model-index.
        repository: 'user/name' on the hub.
    """
    name = info.data.partition(",")[0]
    values: dict[str, Any] = {
        "library_name": "mien",
        "pipeline_tag": "image-classification",
        **_licence(info.licence, repository),
        "tags": ["mien", "onnx", "facial-expression-recognition"],
    }
    # A hub takes the names for links: what cannot be a data set's name stays in the text.
    if _DATASET.fullmatch(name):
        values["datasets"] = [name]
    results = _results(info)
    if results:
        values["metrics"] = list(METRICS)
        values["model-index"] = [{"name": info.name, "results": results}]
    return values


def _licence(licence: str, repository: str) -> dict[str, str]:
    """Return the hub's keys for a licence; several licences, or an unknown one, are 'other'."""
    if licence == "Apache-2.0":
        return {"license": "apache-2.0"}
    return {
        "license": "other",
        "license_name": "see-model-card",
        "license_link": f"https://huggingface.co/{repository}/blob/main/README.md",
    }


def _results(info: ModelInfo) -> list[dict[str, Any]]:
    """Return a result for each ground truth, with n and interval of each metric."""
    data, split = info.metrics.get("data"), info.metrics.get("split")
    return [
        {
            "task": {"type": "image-classification", "name": "Facial expression recognition"},
            "dataset": {
                "name": f"{data} ({TRUTHS[truth]})",
                "type": data,
                "split": split,
                "args": {"ground_truth": truth},
            },
            "metrics": [_metric(key, found) for key in METRICS if key in found],
        }
        for truth, found in info.metrics.items()
        if truth in TRUTHS
    ]


def _metric(key: str, found: dict[str, Any]) -> dict[str, Any]:
    value = found[key]
    return {
        "type": key,
        "name": METRICS[key],
        "value": value["value"],
        "args": {
            "n": found["n"],
            "confidence_level": CONFIDENCE,
            "interval": [value["low"], value["high"]],
        },
    }


def with_metadata(card: str, values: dict[str, Any]) -> str:
    """Return a card in Markdown with `values` as YAML at its head, in place of any that is there.

    Raises:
        MissingExtraError: the package pyyaml is not installed.
    """
    from mien.errors import MissingExtraError

    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("hub", "writing a hub's model card") from error
    if card.startswith("---\n"):
        card = card.partition("\n---\n")[2].lstrip("\n")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n\n{card}"
