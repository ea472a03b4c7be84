"""Check a release on one machine: build, metadata, contents, installation, packages, import time.

    python tools/release_check.py                    # everything; needs .venv-release (Makefile)
    python tools/release_check.py contents dist      # only the contents of dist/*.whl
    python tools/release_check.py contents dist --write

`make release-check` runs it. Exit code 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tools" / "wheel-contents.txt"
MAX_WHEEL_BYTES = 20_000_000
MAX_IMPORT_S = 0.150
"""CPU time of `import mien` beyond that of Python's own start."""
IMPORTS = 9
"""Repetitions; their median counts."""
PYTHONS = ("3.11", "3.12", "3.13")
LARGE = 100_000
"""Bytes from which a file's size is listed too; such files are weights, not code."""
TOLERANCE = 0.1
"""By how much a listed size may change, as a fraction, before the list must be renewed."""
OPTIONAL = "mien/serve/web/vendor/"
"""Third parties' browser files, which `make web` adds: no list of ours is compared with them."""


def wheel_contents(wheel: Path) -> dict[str, int]:
    """Return the files of a wheel and their sizes, sorted; the version in names is VERSION."""
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        infos = sorted(archive.infolist(), key=lambda one: one.filename)
    return {
        one.filename.replace(f"mien-{version}.", "mien-VERSION."): one.file_size
        for one in infos
        if not one.is_dir() and not one.filename.startswith(OPTIONAL)
    }


def listing(contents: dict[str, int]) -> str:
    """Return the text of wheel-contents.txt: a name a line, of large files with the bytes."""
    lines = [f"{name} {size}" if size >= LARGE else name for name, size in contents.items()]
    return "\n".join(lines) + "\n"


def contents_problems(wheel: Path, listed: str) -> list[str]:
    """Return what is wrong with a wheel's size and files, compared with the text of a listing."""
    size, found = wheel.stat().st_size, wheel_contents(wheel)
    expected = {line.split()[0]: line.split()[1:] for line in listed.splitlines()}
    problems = [f"unexpected file: {name}" for name in found if name not in expected]
    problems += [f"missing file: {name}" for name in expected if name not in found]
    for name, sizes in expected.items():
        for one in sizes:
            now = found.get(name, int(one))
            if abs(now - int(one)) > TOLERANCE * int(one):
                problems.append(f"{name} has {now:,} bytes; listed are {int(one):,}")
    if size > MAX_WHEEL_BYTES:
        problems.append(f"{wheel.name} has {size:,} bytes; the limit is {MAX_WHEEL_BYTES:,}")
    return problems


def largest(wheel: Path, count: int = 5) -> list[str]:
    """Return the largest files of a wheel, each with its compressed size, for the report."""
    with zipfile.ZipFile(wheel) as archive:
        infos = sorted(archive.infolist(), key=lambda one: -one.compress_size)[:count]
    return [f"{one.compress_size:>12,}  {one.filename}" for one in infos]


def import_seconds(python: Path) -> float:
    """Return the median CPU time of `import mien`, less that of Python's own start."""
    return _cpu_seconds(python, "import mien") - _cpu_seconds(python, "pass")


def _cpu_seconds(python: Path, code: str) -> float:
    report = f"{code}\nimport time; print(time.process_time())"
    times = [
        float(_output([str(python), "-c", report], cwd=Path(tempfile.gettempdir())))
        for _ in range(IMPORTS)
    ]
    return statistics.median(times)


def _output(command: list[str], cwd: Path = ROOT) -> str:
    # Without PYTHONPATH: the installed wheel counts, not a source tree.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603  (commands of this file)
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def find_python(version: str) -> Path | None:
    """Return the interpreter of a version, such as '3.12'; None where there is none that runs."""
    found_names = [shutil.which(name) for name in (f"python{version}", "python3", "python")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))
    for path in (*found_names, *installed):
        if path is None:
            continue
        code = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
        # A version manager may have a command that runs nothing.
        done = subprocess.run(  # noqa: S603
            [path, "-c", code], capture_output=True, text=True, check=False
        )
        found, _, executable = done.stdout.partition("\n")
        if done.returncode == 0 and found == version:
            return Path(executable.strip())
    return None


def check_installation(python: Path, version: str, wheel: Path, folder: Path) -> list[str]:
    """Install the wheel into a fresh environment, predict, and measure the import."""
    environment = folder / f"venv-{version}"
    _output([str(python), "-m", "venv", str(environment)])
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    own = scripts / "python"
    _output(
        [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    )
    rows = _output([str(scripts / "mien"), "predict", str(ROOT / "examples"), "--csv"], cwd=folder)
    print(f"Python {version}: predicts {len(rows.splitlines()) - 1} faces of examples/")
    problems = check_bill(own, folder / f"mien-{version}.cdx.json")
    seconds = import_seconds(own)
    print(f"Python {version}: import mien takes {seconds * 1000:.0f} ms of CPU time")
    if seconds > MAX_IMPORT_S:
        problems.append(
            f"Python {version}: import mien takes {seconds:.3f} s; limit: {MAX_IMPORT_S} s"
        )
    return problems


def check_bill(python: Path, path: Path) -> list[str]:
    """Write a bill of materials (CycloneDX) of an environment; return what it lacks."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python)]
    flags = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-format", "JSON"]
    _output([*command, *flags, "--output-file", str(path)])
    listed = _output([str(python), "-m", "pip", "list", "--format", "json"])
    installed = {one["name"]: one["version"] for one in json.loads(listed)}
    problems = bill_problems(json.loads(path.read_text(encoding="utf-8")), installed)
    print(f"bill of materials: {len(installed)} packages with versions")
    return problems


def bill_problems(bill: dict[str, Any], installed: dict[str, str]) -> list[str]:
    """Return which installed packages, {name: version}, a CycloneDX bill lacks or has otherwise."""

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    components = [*bill.get("components", []), bill.get("metadata", {}).get("component", {})]
    versions = {normal(one["name"]): one.get("version") for one in components if "name" in one}
    # The project itself has no version in pyproject.toml: it stands in the code.
    expected = {normal(name): version for name, version in installed.items() if name != "mien"}
    problems = [] if "mien" in versions else ["bill of materials: it is not about mien"]
    return problems + [
        f"bill of materials: {name} {version} is installed, listed is {versions.get(name)}"
        for name, version in expected.items()
        if versions.get(name) != version
    ]


def check_everything() -> list[str]:
    """Build the wheel and the sdist, and check them; return the problems."""
    with tempfile.TemporaryDirectory(prefix="mien-release-") as name:
        folder = Path(name)
        _output([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)])
        built = sorted(folder.iterdir())
        _output([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)])
        print("built, metadata valid: " + ", ".join(path.name for path in built))
        (wheel,) = folder.glob("*.whl")
        problems = check_contents(wheel)
        for version in PYTHONS:
            python = find_python(version)
            if python is None:
                print(f"Python {version}: not on this machine, skipped")
                continue
            problems += check_installation(python, version, wheel, folder)
    return problems


def check_contents(wheel: Path) -> list[str]:
    """Print the size and the largest files of a wheel; return the problems."""
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(wheel_contents(wheel))} files")
    print("\n".join(largest(wheel)))
    return contents_problems(wheel, LISTED.read_text(encoding="utf-8"))


def main() -> int:
    """Run the checks that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("check", nargs="?", choices=["all", "contents"], default="all")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    parser.add_argument("--write", action="store_true", help="Write the list of files.")
    options = parser.parse_args()
    if options.check == "all":
        problems = check_everything()
    else:
        (wheel,) = options.folder.glob("*.whl")
        if options.write:
            LISTED.write_text(listing(wheel_contents(wheel)), encoding="utf-8")
        problems = check_contents(wheel)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
