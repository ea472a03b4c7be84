"""The code blocks of the documentation's pages, and a place to run them in."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.patience import child, until

DOCS = ROOT / "docs"
CODE = {"sh", "bash", "python", "r"}
"""Languages of blocks that a reader runs."""
REASONS = {
    "installs packages", "needs R", "needs statsmodels", "needs a camera", "needs Docker",
    "needs a hub", "takes hours", "needs lightning", "is a part of a file",
    "needs a data set that may not be distributed",
}  # fmt: skip
"""Why a block may not be run; a page says it in the line above the block."""
NOT_RUN = re.compile(r"\*Not run by the tests: (?P<reason>[^*]+)\.\*")
COMMENT = re.compile(
    r"<!-- (?P<kind>output|file): ?(?P<about>.*?) -->|<!-- (?P<plain>output[^>]*?) -->"
)
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
SERVERS = ("mien serve", "python -m http.server")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        line: of the page.
        language: '' where the page names none.
        text: what stands in it.
        reason: why it is not run; '' where it is.
        file: the file that a reader saves it as, else ''.
        output: how it is compared with what the block before prints, else ''.
    """

    line: int
    language: str
    text: str
    reason: str = ""
    file: str = ""
    output: str = ""


def pages() -> list[Path]:
    return sorted(path for path in DOCS.rglob("*.md") if "images" not in path.parts)


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        reason, comment = NOT_RUN.search(above), COMMENT.fullmatch(above)
        file = comment["about"] if comment and comment["kind"] == "file" else ""
        output = comment["plain"] or "" if comment else ""
        found.append(
            Block(
                text.count("\n", 0, match.start()) + 1, match["language"], match["text"],
                reason["reason"] if reason else "", file, output,
            )
        )  # fmt: skip
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Place:
    """A folder in which the blocks of a page are run, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8000": free_port(), "9000": free_port()}
        self.servers = ExitStack()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ, "PATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1",
            # Two servers may not use one folder, and other tests run beside this one.
            "XDG_STATE_HOME": str(folder / ".state"),
        }  # fmt: skip

    def here(self, text: str) -> str:
        for port, own in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(own), text)
        return text

    def run(self, block: Block) -> str:
        """Run a block, or save it as the file that the page names; return what it prints."""
        text = self.here(block.text)
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return ""
        if text.startswith(SERVERS):
            self._start(text)
            return ""
        command = (
            [sys.executable, "-c", text] if block.language == "python" else ["bash", "-ec", text]
        )
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"line {block.line}: {block.text}\n{done.stdout}{done.stderr}"
        # Paths as a reader sees them, who works in the folder.
        return (done.stdout + done.stderr).replace(f"{self.folder}/", "")

    def _start(self, command: str) -> None:
        """Start a server that runs until `close`, and wait until it listens."""
        server = self.servers.enter_context(
            child(
                ["bash", "-c", f"exec {command.strip()}"], cwd=self.folder, env=self.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        port = re.search(r"\d{4,5}", command)
        assert port

        def listens() -> bool:
            assert server.poll() is None, f"{command} ended"
            try:
                with urllib.request.urlopen(f"http://localhost:{port[0]}/"):
                    return True  # (our own, on loopback)
            except OSError:
                return False

        until(listens, 0.1)

    def close(self) -> None:
        self.servers.close()


def differences(shown: str, printed: str, how: str) -> Iterator[str]:
    """Yield each line that a page shows and that was not printed.

    Args:
        shown: text of the page.
        printed: by the block before.
        how: 'output', and after commas: 'numbers may differ' compares words only, 'excerpt' allows
            further lines before, between and after.
    """

    def words(line: str) -> str:
        plain = re.sub(r"[-+]?[<>]?\d[\d.,]*", "#", line) if "numbers" in how else line
        return " ".join(plain.split())

    given = [words(line) for line in printed.splitlines() if line.strip()]
    wanted = [words(line) for line in shown.splitlines() if line.strip()]
    if "excerpt" not in how and given != wanted:
        yield f"shown:\n{chr(10).join(wanted)}\nprinted:\n{chr(10).join(given)}"
    position = 0
    for line in wanted if "excerpt" in how else []:
        if line not in given[position:]:
            yield f"{line!r} is not in:\n{chr(10).join(given)}"
            return
        position = given.index(line, position) + 1
