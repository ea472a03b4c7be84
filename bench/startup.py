"""Measures the start of `mien predict photo.jpg`: CPU time, its imports module by module, memory.

    python bench/startup.py [--against TREE] [--pairs 12] [--modules 25]

CPU time of whole processes; bytecode goes to a temporary folder, so that no run compiles. With
--against, another checkout of mien is measured in turns with this one, with the same Python and
packages: the ratio holds on a busy machine too. Import times are the minimum of several runs of
`python -X importtime`, which itself makes each import slower: compare them with each other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "grace_hopper.jpg"
PREDICT = ["-m", "mien", "predict", str(PHOTO)]
REPEATS = 5


class Tree:
    """A checkout of mien, run by this Python with bytecode in a folder."""

    def __init__(self, root: Path, bytecode: Path) -> None:
        if not (root / "src" / "mien").is_dir():
            raise SystemExit(f"{root} is no checkout of mien: it has no src/mien")
        self.root = root
        self._variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._variables |= {"PYTHONPATH": str(root / "src"), "PYTHONPYCACHEPREFIX": str(bytecode)}
        self.cpu([*PREDICT])  # compiles, and fills the cache of the disk

    def cpu(self, arguments: list[str]) -> tuple[float, float]:
        """Return the seconds of CPU time and the peak memory in MB of `python ARGUMENTS`."""
        process = subprocess.Popen(
            [sys.executable, *arguments], env=self._variables,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.root}: {arguments} ended with {process.returncode}")
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024

    def imports(self, arguments: list[str]) -> dict[str, float]:
        """Return the milliseconds that each module's own code took to import."""
        command = [sys.executable, "-X", "importtime", *arguments]
        done = subprocess.run(
            command, env=self._variables, capture_output=True, text=True, check=True
        )
        own: dict[str, float] = defaultdict(float)
        for line in done.stderr.splitlines():
            taken, _, name = line.removeprefix("import time:").split("|") if "|" in line else "---"
            if taken.strip().isdigit():
                own[name.strip()] += int(taken) / 1000
        return own


def print_pairs(name: str, trees: list[Tree], arguments: list[str], pairs: int) -> None:
    """Print the CPU time of a command in one tree, or in two and their ratio."""
    runs: list[list[tuple[float, float]]] = []
    for number in range(pairs):
        order = trees if number % 2 else trees[::-1]
        taken = {id(tree): tree.cpu(arguments) for tree in order}
        runs.append([taken[id(tree)] for tree in trees])
    times = [[seconds for seconds, _ in column] for column in zip(*runs, strict=True)]
    most = [max(mb for _, mb in column) for column in zip(*runs, strict=True)]
    text = f"{name}: {1000 * statistics.median(times[0]):.0f} ms CPU (median), "
    text += f"{1000 * min(times[0]):.0f} ms (least), {most[0]:.0f} MB"
    if len(trees) > 1:
        ratios = [a / b for a, b in zip(*times, strict=True)]
        text += f"; of {trees[1].root.name}'s {statistics.median(ratios):.2f} "
        text += f"({min(ratios):.2f} to {max(ratios):.2f}, {pairs} pairs; its least "
        text += f"{1000 * min(times[1]):.0f} ms, {most[1]:.0f} MB)"
    print(text, flush=True)


def print_imports(tree: Tree, modules: int) -> None:
    """Print what each package and each of the slowest modules takes to import."""
    runs = [tree.imports(PREDICT) for _ in range(REPEATS)]
    own = {name: min(run.get(name, 0.0) for run in runs) for name in runs[0]}
    packages: dict[str, list[float]] = defaultdict(list)
    for name, taken in own.items():
        top = name.split(".")[0]
        known = top in ("mien", "numpy", "onnxruntime", "PIL")
        standard = top in sys.stdlib_module_names or top.startswith("_")
        packages[top if known or not standard else "Python's own"].append(taken)
    total = sum(own.values())
    print(f"\nimports of mien predict photo.jpg: {len(own)} modules, {total:.0f} ms of their own\n")
    print("| package | modules | ms | of all |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in sorted(packages.items(), key=lambda item: -sum(item[1])):
        print(f"| {name} | {len(times)} | {sum(times):.1f} | {sum(times) / total:.0%} |")
    print("\n| module | ms |")
    print("| --- | ---: |")
    for name in sorted(own, key=lambda name: -own[name])[:modules]:
        print(f"| {name} | {own[name]:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of mien")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--modules", type=int, default=25)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        roots = [ROOT] if arguments.against is None else [ROOT, arguments.against.resolve()]
        trees = [Tree(root, Path(folder)) for root in roots]
        print_pairs("mien predict photo.jpg", trees, PREDICT, arguments.pairs)
        print_pairs("import mien", trees, ["-c", "import mien"], arguments.pairs)
        print_pairs("python alone", trees[:1], ["-c", "pass"], arguments.pairs)
        print_imports(trees[0], arguments.modules)


if __name__ == "__main__":
    main()
