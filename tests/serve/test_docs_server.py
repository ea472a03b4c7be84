"""The examples in docs/server.md are run against a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patience import until
from tests.serve.running import running
from tests.video.clips import write_clip

from mien.predict.detectors.registry import make_detector
from mien.serve.catalog import Catalog

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "examples", folder / "examples")
    write_clip(folder / "clip.mp4", 10)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    catalog, detector = Catalog.load([]), make_detector(threads=1)
    with running(tmp_path_factory.mktemp("server"), catalog, detector) as client:
        yield client


def here(text: str, server: httpx.Client) -> str:
    return text.replace("localhost:8000", f"localhost:{server.base_url.port}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_of_curl_works(server: httpx.Client, place: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("curl")]
    assert len(lines) == 13
    id_, answers = "", {}
    for line in lines:
        command = here(line, server).replace("$ID", id_)
        done = subprocess.run(
            ["bash", "-c", command + " -w '\n%{http_code}'"], cwd=place, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        assert status in ("200", "202", "204"), (line, done.stdout)
        answers[line] = body
        if "file=@clip" in line:
            id_ = json.loads(body)["id"]
            status = f"/v1/video/{id_}"
            until(partial(lambda at: server.get(at).json()["status"] == "done", status))
    first: Any = json.loads(answers[lines[0]])["images"]
    assert [p["faces"][0]["label"] for p in first] == ["happy", "neutral"]


def test_every_example_in_python_runs(server: httpx.Client, place: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    outputs = [
        subprocess.run(
            [sys.executable, "-c", here(block, server)], cwd=place, capture_output=True, text=True,
            check=True,
        ).stdout
        for block in blocks
    ]  # fmt: skip
    assert outputs[0].splitlines()[-1] == "2 [(1, 'happy')]"
    assert outputs[1].splitlines()[0] == "examples/astronaut.jpg ['happy']"


def test_every_limit_stands_with_its_default() -> None:
    from mien.serve.settings import Limits

    for name, default in ((f.name, f.default) for f in Limits.__dataclass_fields__.values()):
        assert f"| `--max-{name.replace('_', '-')}` | {default:g} |" in PAGE
