"""Build the npm package @mien/browser: private mode's modules, models and constants, with types.

    python tools/browser_package.py                      # mien-small and mien-tiny
    python tools/browser_package.py --model my.onnx      # these instead, the first by default
    python tools/browser_package.py --types              # and check the types with tsc

`make browser` runs it. The modules are those of the page of `mien serve`: they are copied into the
package when it is built, and stored in the repository once. Needs npm to pack, and `make web` for
tsc.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.errors import ConfigError, MienError
from mien.files import sha256, sha256_file
from mien.model.classifier import Classifier
from mien.model.resolve import model_content, shipped_models
from mien.predict.detectors import yunet
from mien.predict.detectors.mtcnn import weights_folder
from mien.report.web import WEB as SHARED_WEB
from mien.serve.assets import VERIFIER, WEB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.model.info import ModelInfo

ROOT = Path(__file__).parents[1]
OWN = ROOT / "web" / "browser"
"""Files of the package that the page does not have: entrance, types, README, example."""
OUT = ROOT / "build" / "browser"
MODELS = ("mien-small", "mien-tiny")
LEFT_OUT = {"private/client.js"}
"""Modules of private mode that belong to the page of `mien serve`."""
SHARED = ("constants.js", "names.js")
IMAGES = ("astronaut.jpg",)


def modules() -> dict[str, Path]:
    """Return the page's modules that the package has, by their path in its folder app/."""
    own = WEB / "app"
    private = {path.relative_to(own).as_posix(): path for path in (own / "private").glob("*.js")}
    found = {**private, **{name: SHARED_WEB / "app" / name for name in SHARED}}
    return {name: found[name] for name in sorted(found.keys() - LEFT_OUT)}


def describe(info: ModelInfo, content: bytes) -> dict[str, Any]:
    """Return what JavaScript is given of a model's metadata; index.d.ts documents it."""
    return {
        "name": info.name,
        "labels": list(info.labels),
        "inputSize": info.input_size,
        "alignment": info.alignment,
        "colour": info.colour,
        "temperature": info.temperature,
        "unsureBelow": info.unsure_below,
        "trainingPrior": info.training_prior,
        "prior": info.prior,
        "coverage": info.coverage,
        "metrics": info.metrics,
        "licence": info.licence,
        "sha256": sha256(content),
    }


def add_models(folder: Path, specs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Write models to `folder`, each under the name in its file; return their descriptions.

    Raises:
        ConfigError: two models have the same name.
        ModelFileError: a model that cannot be read, or that needs another alignment.
    """
    described: dict[str, dict[str, Any]] = {}
    for spec in specs:
        content, _ = model_content(spec)
        info = Classifier.load(spec, threads=1).info  # refuses what this mien cannot read
        if info.name in described:
            raise ConfigError(
                f"models: two models are named {info.name!r}", hint="give one of them another name"
            )
        described[info.name] = describe(info, content)
        (folder / f"{info.name}.onnx").write_bytes(content)
    for path in (yunet.WEIGHTS, weights_folder() / VERIFIER):
        shutil.copyfile(path, folder / path.name)
    return described


def generated(described: dict[str, dict[str, Any]], folder: Path) -> str:
    """Return the text of models.js, for the networks in `folder`."""
    files = {
        f"models/{path.name}": {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    values = {
        "MIEN_VERSION": __version__,
        "DEFAULT_MODEL": next(iter(described)),
        "MODELS": described,
        "FILES": files,
    }
    lines = ["// Written by tools/browser_package.py from the model files: do not edit."]
    lines += [f"export const {name} = {json.dumps(v, indent=2)};" for name, v in values.items()]
    return "\n".join(lines) + "\n"


def manifest() -> dict[str, Any]:
    """Return the package.json; the version of onnxruntime-web is the page's own."""
    web = json.loads((ROOT / "web" / "package.json").read_text(encoding="utf-8"))
    runtime = "onnxruntime-web"
    return {
        "name": "@mien/browser",
        "version": __version__,
        "description": "Facial expressions read in a browser, without a server",
        "type": "module",
        "exports": {
            ".": {"types": "./index.d.ts", "default": "./index.js"},
            "./package.json": "./package.json",
            "./models/*": "./models/*",
        },
        "types": "./index.d.ts",
        "sideEffects": False,
        "license": web["license"],
        "keywords": ["facial expression", "face detection", "onnx", "webgpu", "private"],
        "dependencies": {runtime: web["dependencies"][runtime]},
    }


def assemble(folder: Path, specs: Sequence[str] = MODELS) -> None:
    """Write the package's files to `folder`, which is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(OWN, folder, ignore=shutil.ignore_patterns("types.test.ts"))
    for name, path in modules().items():
        target = folder / "app" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    networks = folder / "models"
    networks.mkdir()
    text = generated(add_models(networks, specs), networks)
    (folder / "models.js").write_text(text, encoding="utf-8")
    for name in IMAGES:
        shutil.copyfile(ROOT / "examples" / name, folder / "example" / name)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    shutil.copyfile(yunet.WEIGHTS.with_name("yunet-LICENSE.txt"), folder / "yunet-LICENSE.txt")
    text = json.dumps(manifest(), indent=2) + "\n"
    (folder / "package.json").write_text(text, encoding="utf-8")


def pack(folder: Path, to: Path) -> Path:
    """Pack an assembled package by npm; return the tarball.

    Raises:
        ConfigError: there is no npm, or it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError("there is no npm here, so the package cannot be packed",
                          hint="install Node.js, 20 or newer")  # fmt: skip
    answer = _run(
        [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(to)], folder
    )
    found = json.loads(answer)
    # npm 11 gives a list, later versions a package by its name.
    (packed,) = found if isinstance(found, list) else found.values()
    return to / str(packed["filename"])


def check_types(folder: Path) -> None:
    """Compile a program that uses every export, without writing anything.

    Raises:
        ConfigError: tsc is not installed, or finds an error.
    """
    tsc = ROOT / "web" / "node_modules" / "typescript" / "bin" / "tsc"
    node = shutil.which("node")
    if node is None or not tsc.exists():
        raise ConfigError("tsc is not installed, so types cannot be checked", hint="make web")
    installed = folder.parent / "typed" / "node_modules" / "@mien" / "browser"
    shutil.rmtree(folder.parent / "typed", ignore_errors=True)
    shutil.copytree(folder, installed, ignore=shutil.ignore_patterns("models", "*.onnx"))
    program = folder.parent / "typed" / "types.test.ts"
    shutil.copyfile(OWN / "types.test.ts", program)
    flags = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom",
             "--moduleResolution", "bundler", "--module", "esnext"]  # fmt: skip
    _run([node, str(tsc), *flags, program.name], program.parent)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(  # noqa: S603  (commands of this file)
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise ConfigError(f"{' '.join(command[:3])} failed:\n{output}", hint="see the output above")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the package; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", action="append", metavar="NAME|FILE", default=[],
                        help=f"model to pack, repeatable: {', '.join(shipped_models())}, or an "
                        f"ONNX file of mien (default: {', '.join(MODELS)})")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the package and tarball")
    parser.add_argument("--types", action="store_true", help="check the types with tsc")
    options = parser.parse_args(arguments)
    folder = options.out / "package"
    try:
        assemble(folder, options.model or MODELS)
        if options.types:
            check_types(folder)
        packed = pack(folder, options.out)
    except MienError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    print(f"{packed}: {packed.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
