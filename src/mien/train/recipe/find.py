"""Where recipes are found: a path, or the name of one that comes with mien."""

from __future__ import annotations

from pathlib import Path

from mien.errors import ConfigError, did_you_mean

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"
"""Inside an installed package."""
CHECKOUT = Path(__file__).resolve().parents[4] / "recipes"
"""In a working copy, where the recipes stand at the top."""


def find_recipe(recipe: Path) -> Path:
    """Return the TOML file for a path or a shipped recipe's name ('small').

    Raises:
        ConfigError: there is neither such a file nor such a recipe.
    """
    if recipe.is_file():
        return recipe
    folder = SHIPPED if SHIPPED.is_dir() else CHECKOUT
    return _shipped(recipe, "recipe", sorted(folder.glob("*.toml")))


def find_study(study: Path) -> Path:
    """Return the TOML file for a path or a shipped study plan's name ('poster').

    Raises:
        ConfigError: there is neither such a file nor such a plan.
    """
    if study.is_file():
        return study
    folder = (SHIPPED if SHIPPED.is_dir() else CHECKOUT) / "study"
    return _shipped(study, "study plan", sorted(folder.glob("*.toml")))


def _shipped(wanted: Path, kind: str, files: list[Path]) -> Path:
    name = wanted.as_posix().removeprefix("recipes/").removeprefix("study/").removesuffix(".toml")
    named = {file.stem: file for file in files}
    if name in named:
        return named[name]
    raise ConfigError(
        f"there is no {kind} {wanted}",
        hint=did_you_mean(name, named) + f"give a TOML file, or one of: {', '.join(named)}",
    )
