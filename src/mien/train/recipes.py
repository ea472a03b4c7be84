"""Where recipes are found: a path, or the name of one that comes with mien."""

from __future__ import annotations

from pathlib import Path

from mien.errors import ConfigError, did_you_mean

SHIPPED = Path(__file__).resolve().parents[1] / "recipes"
"""Inside an installed package."""
CHECKOUT = Path(__file__).resolve().parents[3] / "recipes"
"""In a working copy, where the recipes stand at the top."""


def find_recipe(recipe: Path) -> Path:
    """Return the TOML file for a path or a shipped recipe's name ('small').

    Raises:
        ConfigError: there is neither such a file nor such a recipe.
    """
    if recipe.is_file():
        return recipe
    folder = SHIPPED if SHIPPED.is_dir() else CHECKOUT
    name = recipe.as_posix().removeprefix("recipes/").removesuffix(".toml")
    shipped = folder / f"{name}.toml"
    if shipped.is_file():
        return shipped
    known = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.toml"))
    raise ConfigError(
        f"there is no recipe {recipe}",
        hint=did_you_mean(name, known) + f"give a TOML file, or one of: {', '.join(known)}",
    )
