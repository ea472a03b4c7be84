"""Write constraints-lowest.txt: the oldest versions that pyproject.toml allows, one a line.

    python tools/lowest_constraints.py > constraints-lowest.txt

CI installs them on the oldest Python, so that the lower bounds stay true.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:>=|==)([0-9][0-9A-Za-z.]*)")
HEADER = "# Made by tools/lowest_constraints.py from the lower bounds in pyproject.toml.\n"


def lowest_constraints(pyproject: str) -> str:
    """Return the constraints for a pyproject.toml; the tools of the extra dev are left out."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    lines = [
        *project["dependencies"],
        *(line for name, extra in extras.items() if name != "dev" for line in extra),
    ]
    found: dict[str, str] = {}
    for line in lines:
        match = BOUND.match(line)
        if match:
            name, version = match.groups()
            # An extra may ask for more than another: the highest bound is the lowest that fits.
            found[name] = max(found.get(name, version), version, key=_key)
    return HEADER + "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


if __name__ == "__main__":
    print(lowest_constraints(PYPROJECT.read_text(encoding="utf-8")), end="")
