"""`mien networks`: the network architectures that a recipe can name, and their cost."""

from __future__ import annotations

from typing import Annotated

import typer

from mien.cli.extras import needs
from mien.cli.render import Column, make_table, print_table, right_aligned

Size = Annotated[
    int,
    typer.Option("--size", min=8, max=1024, help="Side of a face crop in pixels, 8 to 1024."),
]
Classes = Annotated[
    int, typer.Option("--classes", min=2, max=1000, help="Number of classes, 2 to 1000.")
]


def networks(size: Size = 48, classes: Classes = 3) -> None:
    """List the network architectures with their parameters and multiply-adds per face."""
    with needs("train", "mien networks"):
        from mien.train.networks.normalise import Normalise
        from mien.train.networks.registry import NETWORKS, build_model, measure_cost
        from mien.train.recipe.settings import NetworkConfig
    rows = []
    for name, entry in NETWORKS.items():
        model = build_model(
            # Normalisation has no parameters and costs no multiply-adds that are counted.
            NetworkConfig(name),
            normalise=Normalise("none"),
            input_size=size,
            classes=classes,
        )
        cost = measure_cost(model, size)
        millions = f"{cost.multiply_adds / 1e6:,.1f} M"
        rows.append([name, f"{cost.parameters:,}", millions, entry.about])
    columns = [Column("network"), *right_aligned("parameters", "multiply-adds"), Column("about")]
    print_table(make_table(columns, rows))
