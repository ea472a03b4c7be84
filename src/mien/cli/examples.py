"""Examples at the end of each `--help`."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "mien predict photo.jpg",
        "mien video clip.mp4 --out results --report",
        "mien data import photos/ datasets/mine",
        "mien train finetune --data datasets/mine",
    ),
    "predict": (
        "mien predict photo.jpg holiday/ --annotate out",
        "mien predict 'photos/**/*.jpg' -o predictions.csv",
        "curl -s https://example.org/me.jpg | mien predict -",
        "find . -name '*.png' -print0 | mien predict --from-file - --json",
        "mien predict photos/ --engine ray --address auto --out rows",
    ),
    "video": (
        "mien video clip.mp4",
        "mien video clip.mp4 --out results --annotate --report",
        "mien video 'clips/*.mp4' --fps 5 --csv > rows.csv",
        "mien video rtsp://camera.local/stream --json",
        "mien video interviews/ --engine local --out rows --resume",
    ),
    "people": (
        "mien video session/*.mp4 --out results --people",
        "mien people list results",
        "mien people name P1 Anna --dir results",
    ),
    "people find": ("mien people find results", "mien people find results --keep-embeddings"),
    "people list": ("mien people list results", "mien people list results --json"),
    "people name": ("mien people name P1 Anna --dir results",),
    "people merge": ("mien people merge Anna P3 --dir results",),
    "people split": ("mien people split session/a.mp4 2 --at 61.5 --dir results",),
    "people mark": ("mien people mark session/a.mp4 7 not-a-face --dir results",),
    "people forget": ("mien people forget Anna --dir results",),
    "live": ("mien live", "mien live --camera 1 --blur-faces", "mien live --headless > rows.jsonl"),
    "view": ("mien view results", "mien view results --videos recordings --open"),
    "data": (
        "mien data import photos/ datasets/mine",
        "mien data show datasets/mine",
        "mien data audit datasets/mine",
    ),
    "data import": (
        "mien data import photos/ datasets/mine",
        "mien data import fer2013.csv datasets/fer --votes fer2013new.csv",
        "mien data import list.csv datasets/mine --apply mine-audit/audit.csv",
    ),
    "data show": ("mien data show datasets/mine", "mien data show datasets/mine --json"),
    "data draw": ("mien data draw datasets/drawn --count 600",),
    "data audit": ("mien data audit datasets/mine", "mien data audit photos/ --out audit"),
    "train": (
        "mien train finetune --data datasets/mine",
        "mien train recipes/small.toml --data datasets/mine --set fit.epochs=5",
        "mien train --resume runs/small-001",
    ),
    "doctor": (
        "mien doctor runs/small-001",
        "mien doctor runs/small-001 --deep --json",
        "mien doctor lightning_logs/version_0 --fail-on error",
    ),
    "study": (
        "mien study poster --data datasets/mine --dry-run",
        "mien study my-study.toml --data datasets/mine --jobs 2",
    ),
    "evaluate": (
        "mien evaluate runs/small-001 --data datasets/mine",
        "mien evaluate mien-small --data datasets/mine --split test --json",
    ),
    "session": (
        "mien session study.toml --out tables",
        "mien session study.toml --out tables --window 1 --pre 2 --post 5",
        "mien session study.csv --out tables --format csv,sav,r",
    ),
    "convert": (
        "mien convert results/clip.csv -o clip.eaf",
        "mien convert results -o rows.sav",
        "mien convert results/clip.csv --track 1 -o sub-01_task-talk_physio.tsv.gz",
    ),
    "agree": (
        "mien agree coder-a.eaf coder-b.eaf --tier expression",
        "mien agree human/ mien/ --gap neutral --report agreement.html",
    ),
    "explain": (
        "mien explain mien-small photo.jpg",
        "mien explain runs/small-001 photos/ --label happy --out maps",
    ),
    "export": (
        "mien export runs/small-001 mine.onnx",
        "mien export runs/small-001 mine.onnx --int8 --note 'my own photos'",
    ),
    "push": ("mien push runs/small-001 user/name", "mien push mine.onnx user/name --private --yes"),
    "quantize": ("mien quantize mien-small small-int8.onnx --data datasets/mine",),
    "calibrate": ("mien calibrate mien-small mine.onnx --data datasets/mine",),
    "models": ("mien models", "mien models mine.onnx --no-speed --json"),
    "networks": ("mien networks", "mien networks --size 64 --classes 7"),
    "serve": (
        "mien serve",
        "MIEN_TOKEN=secret mien serve --host 0.0.0.0 --port 80",
        "mien serve --models mine=mine.onnx",
    ),
}


def epilog(path: str) -> str:
    """Return the end of a command's help; `path` is its name, such as 'data show'."""
    # The control character keeps Click from joining the lines.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[path])
