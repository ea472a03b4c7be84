"""How this mien was installed, and the command that adds optional packages to it."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

TORCH = "torch==2.13.0"
"""As `constraints.txt` pins it: other versions pull gigabytes of CUDA on some indexes."""
NEEDS_TORCH = frozenset({"train", "dev"})


def install_command(extra: str) -> str:
    """Return the shell command that installs an extra beside this very mien.

    A clone is installed from its folder, with its constraints; a repository or a wheel from where
    it came; only what came from a package index is installed by its bare name.

    Args:
        extra: name of the optional packages, such as 'train'.
    """
    pin = f"pip install {TORCH} && " if extra in NEEDS_TORCH else ""
    return pin + _install(extra, _origin())


def _install(extra: str, origin: dict[str, Any] | None) -> str:
    if origin is None:
        return f'pip install "mien[{extra}]"'
    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        kind, revision = origin["vcs_info"].get("vcs", "git"), origin["vcs_info"].get("commit_id")
        at = f"@{revision}" if revision else ""
        return f'pip install "mien[{extra}] @ {kind}+{url}{at}"'
    if not url.startswith("file:"):
        return f'pip install "mien[{extra}] @ {url}"'
    path = _path(url)
    if not path.exists():
        return f"pip install '.[{extra}]', in a clone of mien"
    constraints = path / "constraints.txt"
    given = f"--constraint {shlex.quote(str(constraints))} " if constraints.is_file() else ""
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {given}{editable}{shlex.quote(f'{path}[{extra}]')}"


def upgrade_command() -> str:
    """Return what brings a newer mien to where this one came from."""
    origin = _origin()
    if origin is None:
        return "pip install --upgrade mien"
    url = str(origin.get("url", ""))
    if not url.startswith("file:"):
        return f'pip install --upgrade --force-reinstall "mien @ {url}"'
    return f"git -C {shlex.quote(str(_path(url)))} pull, then install it again as before"


def _path(url: str) -> Path:
    from urllib.parse import unquote, urlsplit

    return Path(unquote(urlsplit(url).path))


@cache
def _origin() -> dict[str, Any] | None:
    """Return what pip recorded of where mien came from; None for a package index."""
    from importlib import metadata  # here: a start of mien that lacks nothing need not wait for it

    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file() and (clone / "src" / "mien").is_dir():
        return {"url": clone.as_uri(), "dir_info": {"editable": True}}
    try:
        text = metadata.distribution("mien").read_text("direct_url.json")
        found = json.loads(text) if text else None
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
