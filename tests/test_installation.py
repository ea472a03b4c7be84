"""The command that adds optional packages fits how mien came here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from mien import installation
from mien.installation import TORCH, install_command, upgrade_command

ROOT = Path(__file__).parents[1]


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_origin(value: dict[str, Any] | None) -> None:
        monkeypatch.setattr(installation, "_origin", lambda: value)

    return set_origin


def test_the_pin_is_that_of_the_constraints() -> None:
    assert TORCH in (ROOT / "constraints.txt").read_text().splitlines()
    assert f"pip install {TORCH} && " in (ROOT / "README.md").read_text()


def test_from_an_index(origin: Any) -> None:
    origin(None)
    assert install_command("video") == 'pip install "mien[video]"'
    assert install_command("train") == f'pip install {TORCH} && pip install "mien[train]"'
    assert upgrade_command() == "pip install --upgrade mien"


@pytest.mark.parametrize("editable", [True, False])
def test_from_a_clone(origin: Any, tmp_path: Path, editable: bool) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    (clone / "constraints.txt").write_text(TORCH)
    origin({"url": clone.as_uri(), "dir_info": {"editable": editable}})
    words = shlex.split(install_command("train").partition(" && ")[2])
    assert words == ["pip", "install", "--constraint", str(clone / "constraints.txt"),
                     *(["-e"] if editable else []), f"{clone}[train]"]  # fmt: skip
    assert "pull" in upgrade_command()


def test_from_a_clone_that_is_gone(origin: Any, tmp_path: Path) -> None:
    origin({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert install_command("serve") == "pip install '.[serve]', in a clone of mien"


def test_from_a_wheel_and_a_repository(origin: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "mien-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    origin({"url": wheel.as_uri(), "archive_info": {}})
    assert shlex.split(install_command("data")) == ["pip", "install", f"{wheel}[data]"]
    url = "https://example.org/mien.git"
    origin({"url": url, "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    assert shlex.split(install_command("data"))[-1] == f"mien[data] @ git+{url}@abc"


def test_this_very_mien_names_a_place_that_exists() -> None:
    words = shlex.split(install_command("audit"))
    assert words[-1].endswith("[audit]")
    assert Path(words[-1].removesuffix("[audit]")).is_dir() or words[-1] == "mien[audit]"


def test_every_extra_that_code_asks_for_exists() -> None:
    import re
    import tomllib

    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"])  # fmt: skip
    text = "".join(p.read_text() for p in (ROOT / "src" / "mien").rglob("*.py"))
    asked = set(re.findall(r'(?:needs|MissingExtraError\.of|install_command)\(\s*["\'](\w+)', text))
    assert {"train", "video", "heic"} <= asked <= extras
