"""`mien networks`: the networks that a recipe can name, and what each costs."""

from __future__ import annotations

import typer

from mien.cli.extras import needs


def networks(
    size: int = typer.Option(48, "--size", min=8, max=1024, help="Side of a crop, in pixels."),
    classes: int = typer.Option(3, "--classes", min=2, max=1000, help="Number of labels."),
) -> None:
    """List the networks with their parameters and multiply-adds for one face."""
    with needs("train", "mien networks"):
        from mien.train.networks.normalise import Normalise
        from mien.train.networks.registry import NETWORKS, build_model, measure_cost
        from mien.train.recipe.settings import NetworkConfig
    for name, entry in NETWORKS.items():
        model = build_model(
            NetworkConfig(name), normalise=Normalise("none"), input_size=size, classes=classes
        )
        cost = measure_cost(model, size)
        typer.echo(
            f"{name:10} {cost.parameters:>10,} parameters {cost.multiply_adds / 1e6:>8.1f}M "
            f"multiply-adds  {entry.about}"
        )
