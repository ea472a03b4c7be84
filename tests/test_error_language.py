"""Errors of the library name Python arguments and recipe keys; only `mien.cli` names flags."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mien
from mien import errors

SOURCE = Path(mien.__file__).parent
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
# A flag begins a word; '---', CSS variables and long dashes between words do not.
FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Commands of other programs, which have flags of their own.
OTHER_PROGRAMS = re.compile(r"\b(?:pip|curl|ffmpeg) [^;,]*")

UNFIXED = frozenset(
    {
        "data/audit/apply.py",
        "data/dataset.py",
        "data/drawn.py",
        "data/sources/collection.py",
        "data/sources/registry.py",
        "explain/explainable.py",
        "model/conformal.py",
        "model/embedder.py",
        "model/fp16.py",
        "predict/detectors/registry.py",
        "predict/detectors/yunet.py",
        "predict/sinks/annotated.py",
        "predict/sources.py",
        "serve/catalogue.py",
        "serve/run.py",
        "serve/security.py",
        "serve/settings.py",
        "serve/store.py",
        "serve/upload.py",
        "study/study.py",
        "train/loop/align_pretraining.py",
        "train/loop/find_lr.py",
        "train/loop/fit.py",
        "train/loop/loader.py",
        "train/recipe/recipe.py",
        "video/select.py",
        "video/sinks/outputs.py",
        "video/smooth.py",
        "video/stream.py",
        "video/window.py",
    }
)
"""Files whose errors still name flags. The list only shrinks: a fixed file must leave it."""


def flags_in_errors(text: str) -> list[str]:
    """Return the string constants with a flag inside `raise X(...)` and calls of mien's errors."""
    found = {
        constant.value
        for node in ast.walk(ast.parse(text))
        if _makes_error(node)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant)
        and isinstance(constant.value, str)
        and FLAG.search(OTHER_PROGRAMS.sub("", constant.value))
    }
    return sorted(found)


def _makes_error(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr == "of":
        function = function.value  # MissingExtraError.of(...)
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in ERRORS


def library_files() -> list[str]:
    files = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return sorted(str(path) for path in files if path.parts[0] != "cli")


def test_errors_outside_cli_name_no_flags() -> None:
    found = {}
    for name in library_files():
        flags = flags_in_errors((SOURCE / name).read_text(encoding="utf-8"))
        if flags:
            found[name] = flags
    new = {name: flags for name, flags in found.items() if name not in UNFIXED}
    assert not new, "name the Python argument; mien.cli.flags translates it"
    assert not UNFIXED - set(found), "these files are fixed: remove them from UNFIXED"


def test_the_walk_finds_flags() -> None:
    raised = 'raise ConfigError(f"--fps must be above 0, got {fps}", hint="for example 10")'
    assert flags_in_errors(raised) == ["--fps must be above 0, got "]
    assert flags_in_errors('x = DataError("taken", hint="--force replaces it")') != []
    assert flags_in_errors('raise MissingExtraError.of("train", "mien doctor --deep")') != []
    assert flags_in_errors('raise ConfigError("fps: 0", hint="fps=10")') == []
    assert flags_in_errors('print("--fps")') == []
    installs = 'raise ModelFileError("damaged", hint="pip install --force-reinstall x==1")'
    assert flags_in_errors(installs) == []
