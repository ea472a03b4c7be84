"""The repository speaks the field's language: a private dialect, once removed, stays out.

A reader searches for 'resume', 'ensemble' or 'distillation'. Text that says 'go on with', 'answer
together' or 'taught by' is not found, so each of those words fails here with the term to use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("src", "docs", "recipes", "bench")
PAGES = ("README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".md", ".toml", ".html", ".js", ".mjs", ".cjs", ".css"}
WEB_PAGE = ("src/mien/serve/web/", "src/mien/report/web/")
"""The page for lay users, which may say 'picture'."""

# Pattern of the private words, and what to say instead. Patterns match whole words, in any case
# unless they hold a capital; an underscore separates words too, so names of code are checked.
PRIVATE = {
    r"mend(s|ed|ing)?": "fix, repair",
    r"anew": "again, re-initialise, regenerate",
    r"cannot be meant": "invalid, out of range",
    r"(begin|begins|beginning|begun|started) with mien-\w+|to begin with": "fine-tune from; first",
    r"learn(t|ed) beginnings?": "pretrained weights",
    r"(go|goes|going|gone|went) on( with)?": "continue, resume",
    r"by heart": "memorise, overfit",
    r"answers? together": "ensemble",
    r"(bring|brings|brought) the face": "align, spatial transformer",
    r"(find|finds|found) the face (which|learns|lies|to)|what finds the face": "alignment network",
    r"taught|votes teach": "distillation, trained on; teacher and student",
    r"yardsticks?": "ground truth",
    r"would have been right|right answers?": "true label, ground truth",
    r"cautions?": "decision threshold, abstain",
    r"told": "given, passed; progress callback; 'told apart': distinguished",
    r"(unless|if not) (told|said)( otherwise)?": "the default is",
    r"(read|reads|reading) ?ahead": "prefetch",
    r"(MOST|LEAST|FEWEST)_\w+|\w+_(MOST|LEAST|FEWEST)": "MAX_, MIN_",
    r"would not start": "failed to initialise",
    r"stored in 16 bits|weights in 16 bits|(halve|widen)(s|ed)? (the )?weights": "fp16, to_fp16",
    r"sets? of labels": "conformal prediction set, label set",
    r"sightings?": "detection",
    r"(person|face|track)'s looks?|last looks?|looks? of (a|the) (person|track)": "appearance",
    r"hid(e|es|ing) (the |all |their )?(faces?|people|persons?)": "anonymise, blur",
    r"knows nothing": "chance level; independent of",
    r"second opinions?": "baseline",
    r"plain methods?": "baseline",
    r"mass|masses": "class counts, fraction",
    r"share right|shares? of (the|a|all|each|its)|shares? that|(which|what) shares? of|share =":
        "fraction, proportion",
    r"gain ratios?|promised? loss": "actual / predicted loss reduction",
    r"right_n|answers_n": "y_true_n, y_pred_n",
    r"pictures?": "image",
    r"of the processor|processor (time|seconds?)": "CPU threads, CPU time",
    r"as (it|they) comes?": "with the defaults, unchanged",
    r"who is it|nam(e|es|ing) a face": "predict, classify",
    r"(model|network)s? answers?|answers? (alike|otherwise|wrongly)|answering time": "predict",
    r"(what is|that are|faces( are)?) answered": "classified, predicted",
    r"groups of copies|copies (of one image|counted once)": "duplicates",
    r"raters' panels?|panel (accuracy|agrees|labels?)": "rater consensus",
    r"drawn (with replacement|at random|by (the|each) seed)": "sampled",
}  # fmt: skip

# (file, words, why they stay). A line here needs a reason that a reader would accept.
EXCEPTIONS = (
    ("src/mien/data/dataset.py", "pictures", "a former JSON key, read until the next schema"),
    ("src/mien/train/recipe/schema.py", "picture", "a value in run folders of schema 1"),
)

BREAK = r"(?:_|\s+(?:(?:#:?|//|\*) )?|\s?\"\s+f?\")"
"""A space of a pattern: also an underscore, or a line break in a comment or a split string."""


def compiled(pattern: str) -> re.Pattern[str]:
    flags = 0 if re.search("[A-Z]", pattern) else re.IGNORECASE
    words = pattern.replace(" ", BREAK)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", flags)


PATTERNS = {pattern: compiled(pattern) for pattern in PRIVATE}


def private_words(text: str, name: str = "") -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and what to say instead, for each hit in a file's text."""
    for pattern, instead in PRIVATE.items():
        if name.startswith(WEB_PAGE) and pattern == "pictures?":
            continue
        for match in PATTERNS[pattern].finditer(text):
            words = " ".join(match[0].split())
            if (name, words) not in {(file, own) for file, own, _ in EXCEPTIONS}:
                yield text.count("\n", 0, match.start()) + 1, words, instead


def files() -> list[Path]:
    inside = (file for place in PLACES for file in (ROOT / place).rglob("*"))
    third_parties = {"vendor", "node_modules"}
    ours = [f for f in inside if f.suffix in SUFFIXES and not third_parties & set(f.parts)]
    return [*sorted(ours), *(ROOT / page for page in PAGES)]


def test_no_file_uses_the_private_dialect() -> None:
    hits, read = [], files()
    for file in read:
        name = file.relative_to(ROOT).as_posix()
        for line, words, instead in private_words(file.read_text(encoding="utf-8"), name):
            hits.append(f"{name}:{line}: {words!r}, say: {instead}")
    assert len(read) > 300
    assert not hits, "\n".join(hits)


def test_each_exception_is_still_needed() -> None:
    for name, words, why in EXCEPTIONS:
        assert words in (ROOT / name).read_text(encoding="utf-8"), f"remove {name}: {words}"
        assert why


@pytest.mark.parametrize(
    "dialect",
    [
        "drawn anew with it",
        "# a command line that cannot\n    # be meant",
        'hint="networks that answer "\n        "together"',
        "a run can be gone on with",
        "right_n = labels_n",
        "the model answers",
        "MOST_FACES = 50",
        "READ_AHEAD = 2",
        "def second_opinion(",
        "stored in 16 bits",
        "the callback is told",
        "FEWEST_IMAGES",
        "accuracy: share right",
        "whole groups of\ncopies",
        "network that finds the face learns",
        "share = found / total",
        "the person's look",
    ],
)
def test_dialect_is_found(dialect: str) -> None:
    assert list(private_words(dialect))


@pytest.mark.parametrize(
    "english",
    [
        "the answer to a request; the server answers 503",
        "drawn faces, a panel drawn beside the face",
        "share a file; options that several commands share; workers share one socket",
        "at least 2, at most 5, most probable first, almost_all",
        "amend, recommend, mandatory, massive",
        "finds the faces of an image; detector: finds the faces",
        "hidden layers; HIDDEN = 3; hide vanishing gradients",
        "an ensemble of a teacher and its students",
        "it looks at the image; look at the report; how a face looks",
        "goes to the first; begins with a slash; start with 0",
        "bold, stolen, untold_",
    ],
)
def test_ordinary_english_is_not_found(english: str) -> None:
    assert not list(private_words(english))
