"""Finds recipes and study plans: by path, or by the name of a shipped one."""

from __future__ import annotations

from pathlib import Path

from mien.errors import ConfigError, did_you_mean

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"
"""The recipes in an installed package."""
CHECKOUT = Path(__file__).resolve().parents[4] / "recipes"
"""The recipes in a checkout of the repository."""


def find_recipe(recipe: Path) -> Path:
    """Return the TOML file for a path or a shipped recipe's name ('small').

    Raises:
        ConfigError: neither a file nor a shipped recipe has that name.
    """
    if recipe.is_file():
        return recipe
    folder = SHIPPED if SHIPPED.is_dir() else CHECKOUT
    return _shipped(recipe, "recipe", sorted(folder.glob("*.toml")))


def find_study(study: Path) -> Path:
    """Return the TOML file for a path or a shipped study plan's name ('poster').

    Raises:
        ConfigError: neither a file nor a shipped plan has that name.
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
