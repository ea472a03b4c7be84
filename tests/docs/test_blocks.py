"""Every code block of the documentation is run, or says in the line above why it is not."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import ROOT
from tests.docs.blocks import (
    CODE,
    DOCS,
    NOT_RUN,
    REASONS,
    Block,
    Place,
    blocks,
    differences,
    name,
    pages,
)
from tests.video.clips import write_clip

from mien.cli.application import command_line, commands
from mien.data.drawn import draw_face

ELSEWHERE = {"server.md": "tests/serve/test_docs_server.py"}
"""Pages whose blocks another test runs."""


def is_run(block: Block) -> bool:
    return bool(block.file or block.output) or (block.language in CODE and not block.reason)


RUN = [
    (page, number)
    for page in pages()
    if name(page) not in ELSEWHERE
    for number, block in enumerate(blocks(page))
    if is_run(block)
]


def furnish(folder: Path) -> None:
    """Write what the pages take for granted: the examples, photos by class, a clip."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    rng = np.random.default_rng(0)
    for label in ("happy", "neutral", "sad"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(12):
            face = Image.fromarray(draw_face(label, rng))
            face.save(folder / "photos" / label / f"{number}.png")
    pixels = np.asarray(Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB"))
    write_clip(folder / "clip.mp4", [pixels] * 20)


class PageRun:
    """Runs the blocks of a page in order, each once, and compares what they print.

    A test per block, since a whole tutorial may take longer than a test may.
    """

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.place, self.done, self.printed = page, Place(folder), 0, ""
        # Tutorials make their own files.
        if page.parent.name == "tutorials":
            shutil.copytree(ROOT / "examples", folder / "examples")
        else:
            furnish(folder)

    def run_to(self, number: int) -> None:
        for block in blocks(self.page)[self.done : number + 1]:
            self.done += 1
            if block.output:
                problems = list(differences(block.text, self.printed, block.output))
                assert not problems, f"{name(self.page)}:{block.line}: {problems[0]}"
            elif is_run(block):
                self.printed = self.place.run(block)


@pytest.fixture(scope="module")
def page_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], PageRun]]:
    started: dict[Path, PageRun] = {}

    def run_of(page: Path) -> PageRun:
        if page not in started:
            started[page] = PageRun(page, tmp_path_factory.mktemp(page.stem))
        return started[page]

    yield run_of
    for run in started.values():
        run.place.close()


def test_every_block_is_run_or_says_why() -> None:
    count = 0
    for page in pages():
        for block in blocks(page):
            where = f"{name(page)}:{block.line}"
            count += block.language in CODE
            assert not block.reason or block.reason in REASONS, where
            assert not block.reason or block.language in CODE, f"{where}: nobody would run it"
            if block.language == "json":
                json.loads(block.text)
            elif block.language == "toml":
                tomllib.loads(block.text)
            else:
                # tests/web/test_browser_example.py runs those of JavaScript.
                assert block.language in {*CODE, "js", "text", "html", ""}, where
            if block.output:
                assert set(block.output.split(", ")) <= {"output", "numbers may differ", "excerpt"}
    assert count > 30
    marks = sum(len(NOT_RUN.findall(page.read_text("utf-8"))) for page in pages())
    assert marks == sum(bool(block.reason) for page in pages() for block in blocks(page))


def test_other_tests_run_the_other_pages() -> None:
    for page, test in ELSEWHERE.items():
        assert f'"{page}"' in (ROOT / test).read_text("utf-8")


@pytest.mark.parametrize(
    ("page", "number"), RUN, ids=lambda v: name(v) if isinstance(v, Path) else str(v)
)
def test_the_blocks_of_a_page_run(
    page: Path, number: int, page_runs: Callable[[Path], PageRun]
) -> None:
    page_runs(page).run_to(number)


def test_the_commands_in_indented_blocks_have_these_options() -> None:
    """Overviews such as `mien train RECIPE [--set a.b=c]` are not run, but must not lie."""
    known = {
        path: {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for path, command in commands(command_line())
    }
    checked = 0
    for page in [ROOT / "README.md", *pages()]:
        for path, options in _overviews(page):
            assert path in known, f"{name(page) if page.parent != ROOT else page}: mien {path}"
            unknown = options - known[path]
            assert not unknown, f"{page.name}: mien {path} has no {unknown}"
            checked += len(options)
    assert checked > 80


def _overviews(page: Path) -> Iterator[tuple[str, set[str]]]:
    """Yield (command, options) of each command in a page's blocks, its further lines included."""
    text = page.read_text("utf-8")
    # Indented, with further lines further in; or in a fenced block.
    indented = re.findall(r"^ {4}mien ([^\n]*(?:\n {6,}[^\n]*)*)", text, re.MULTILINE)
    fenced = [re.findall(r"^mien ([^\n]*)", block.text, re.MULTILINE) for block in blocks(page)]
    for command in [*indented, *(one for found in fenced for one in found)]:
        line = re.sub(r"\s#.*|\S\s{2,}[a-z].*", "", command)
        words = re.findall(r"[a-z]+", line.split("-")[0])
        path = words[0] if words else ""
        if path in ("data", "people") and len(words) > 1:
            path = f"{path} {words[1]}"
        # `--max-... N` stands for many options.
        yield path, set(re.findall(r"(?<![\w-])--[a-z]+(?:-?[a-z0-9]+)*(?!-|\.\.\.|[a-z])", line))


def test_a_page_that_lies_is_found() -> None:
    shown = "accuracy 0.83 (n = 120)"
    assert not list(
        differences(shown, "x\naccuracy 0.79 (n = 119)\ny", "output, numbers may differ, excerpt")
    )
    assert list(differences(shown, "accuracy 0.79 (n = 119)", "output"))
    assert list(differences(shown, "recall 0.83 (n = 120)", "output, numbers may differ, excerpt"))
    assert list(differences("a\nb", "b\na", "output, excerpt"))


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="line 3"):
        Place(tmp_path).run(Block(3, "sh", "mien predict nothing.jpg\n"))


def test_every_page_stands_in_the_navigation() -> None:
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(name(page) for page in pages())


def test_no_page_links_out_of_the_site() -> None:
    for page in pages():
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if not target.startswith("http"):
                inside = (page.parent / target).resolve()
                assert inside.is_relative_to(DOCS), f"{name(page)}: {target}"
                assert inside.exists(), f"{name(page)}: {target}"
