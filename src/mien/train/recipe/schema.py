"""Older forms of the recipe in a run folder's config.json: read `upgraded` first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 2
"""Of config.json: 2 has the keys of today, and all of the network's options."""

RENAMED_1 = {
    "also": "extra_labels",
    "distil": "distillation",
    "distil.views": "distillation.on_augmented",
    "fit.average": "fit.ema_decay",
    "fit.first_size": "fit.initial_size",
    "fit.start": "fit.init_from",
}
"""Keys of schema 1 and their names today."""
DEFAULTS_1 = {
    "small": {"widths": [16, 32, 80, 192], "stem_kernel": 3, "stem_stride": 1},
}
"""Defaults of schema 1 that differ from today's; it saved only the options that were set."""
NETWORKS_1 = {"base": "large"}
"""Networks of schema 1 and their names today: `base` was the network that is now `large`."""

VALUES_1 = {"network.normalise": {"picture": "image"}}
"""Values of schema 1 and their names today, by key."""


def upgraded(recipe: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Return a saved recipe, of schema 1 or 2, in the form of `Recipe.to_dict`."""
    if schema >= SCHEMA_VERSION:
        return dict(recipe)
    values: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            value = {
                _leaf(f"{key}.{name}"): _value(f"{key}.{name}", inner)
                for name, inner in value.items()
            }
        values[_leaf(key)] = value
    # Old names decide the old defaults, so the network is renamed last.
    network = values.get("network")
    if isinstance(network, dict):
        name = network.get("name", "small")
        network = {**DEFAULTS_1.get(name, {}), **network, "name": NETWORKS_1.get(name, name)}
        values["network"] = network
    return values


def _leaf(path: str) -> str:
    return RENAMED_1.get(path, path).rpartition(".")[2]


def _value(path: str, value: Any) -> Any:
    return VALUES_1.get(path, {}).get(value, value) if isinstance(value, str) else value
