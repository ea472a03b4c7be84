"""Time and peak memory of all tables of a study: 10 hours of rows, two people, 25 frames a second.

    python bench/sessions.py --folder /tmp/sessions --hours 10 --formats csv

Rows are drawn once into the folder by examples/draw_sessions.py, one hour each, and kept. Each
format runs in a process of its own; the peak is that process's resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_S, MAX_GB = 60.0, 1.5
"""The limits that this flow was built for."""


def child(study: Path, out: Path, form: str) -> None:
    """Derive all tables and print what it cost, as JSON."""
    from mien.sessions.derive import SessionOptions, derive

    start, cpu = time.perf_counter(), time.process_time()
    made = derive(study, out, SessionOptions(formats=(form,)))
    print(json.dumps({
        "format": form, "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "rows": made.frames, "files": len(made.files),
        "written_gb": round(sum(file.stat().st_size for file in made.files) / 1e9, 2),
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--hours", type=int, default=10)
    parser.add_argument("--formats", default="csv,parquet")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    study, out = options.folder / "study.toml", options.folder / "tables"
    if options.child:
        child(study, out, options.child)
        return
    if not study.exists():
        example = runpy.run_path(str(ROOT / "examples" / "draw_sessions.py"))
        example["main"](options.folder, pairs=options.hours, seconds=3600.0)
    for form in options.formats.split(","):
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, __file__, "--folder", str(options.folder), "--child", form]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures = json.loads(done.stdout)
        kept = figures["wall_s"] <= MAX_S and figures["peak_gb"] <= MAX_GB
        print(json.dumps(figures), "within the limits" if kept else "ABOVE THE LIMITS")
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
