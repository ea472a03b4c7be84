"""The audit of a collection: time and memory, and what it finds of planted copies.

    python bench/audit.py --data DIR --arrays NPZ [--out FOLDER]

Runs `mien data audit` as a user does, in a process of its own, and then bench/copies.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, required=True)
    arguments = parser.parse_args()
    mien = Path(sys.executable).with_name("mien")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run(
            [str(mien), "data", "audit", str(arguments.data), "--out", folder, "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    print(f"{found['n']:,} pictures: {seconds:.0f} s (at most 180), of processor time "
          f"{used.ru_utime + used.ru_stime:.0f} s; at most {used.ru_maxrss / 1e6:.2f} GB "
          "(at most 2)")  # fmt: skip
    for check, count in found["counts"].items():
        print(f"  {check}: {count:,}")
    copies = Path(__file__).with_name("copies.py")
    subprocess.run([sys.executable, str(copies), "--data", str(arguments.arrays)], check=True)


if __name__ == "__main__":
    main()
