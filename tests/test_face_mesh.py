"""tools/convert_face_mesh.py: TensorFlow Lite to ONNX, beside torch and MediaPipe's own runtime."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from flatbuffers import Builder
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "convert_face_mesh.py"
ADAPTER = ROOT / "bench" / "peers" / "adapters" / "mediapipe_mesh.py"
FLOAT32, FLOAT16, INT32 = 0, 1, 2
SAME, VALID = 0, 1


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_face_mesh", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["convert_face_mesh"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class File:
    """Writes a TensorFlow Lite file of one graph, by the positions of schema.fbs."""

    def __init__(self) -> None:
        self._builder = Builder(1024)
        self._tensors: list[int] = []
        self._buffers = [self._table({})]  # the first is empty, for what is computed
        self._operators: list[int] = []
        self._kinds: list[int] = []

    def tensor(self, shape: Sequence[int], value: NDArray[Any] | None = None) -> int:
        """Add a tensor and return its index."""
        buffer = 0
        kind = FLOAT32
        if value is not None:
            kind = {"float32": FLOAT32, "float16": FLOAT16, "int32": INT32}[value.dtype.name]
            content = self._builder.CreateByteVector(value.tobytes())
            self._buffers.append(self._table({0: ("Offset", content)}))
            buffer = len(self._buffers) - 1
        fields = {0: ("Offset", self._integers(shape)), 1: ("Int8", kind), 2: ("Uint32", buffer)}
        self._tensors.append(self._table(fields))
        return len(self._tensors) - 1

    def constant(self, value: NDArray[Any]) -> int:
        return self.tensor(value.shape, value)

    def operator(
        self,
        kind: int,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: dict[int, tuple[str, int]] | None = None,
    ) -> int:
        """Add an operator and return the index of its output."""
        out = self.tensor(shape)
        self._kinds.append(kind)
        fields = {
            0: ("Uint32", len(self._kinds) - 1),
            1: ("Offset", self._integers(inputs)),
            2: ("Offset", self._integers([out])),
        }
        if options is not None:
            fields[4] = ("Offset", self._table(options))
        self._operators.append(self._table(fields))
        return out

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        builder = self._builder
        graph = self._table({
            0: ("Offset", self._tables(self._tensors)), 1: ("Offset", self._integers(inputs)),
            2: ("Offset", self._integers(outputs)), 3: ("Offset", self._tables(self._operators)),
        })  # fmt: skip
        kinds = [self._table({0: ("Int8", kind), 3: ("Int32", kind)}) for kind in self._kinds]
        model = self._table({
            1: ("Offset", self._tables(kinds)), 2: ("Offset", self._tables([graph])),
            4: ("Offset", self._tables(self._buffers)),
        })  # fmt: skip
        builder.Finish(model)
        return bytes(builder.Output())

    def _table(self, fields: dict[int, tuple[str, int]]) -> int:
        self._builder.StartObject(8)
        for slot, (kind, value) in fields.items():
            name = "UOffsetTRelative" if kind == "Offset" else kind
            getattr(self._builder, f"Prepend{name}Slot")(slot, value, 0)
        return int(self._builder.EndObject())

    def _integers(self, values: Sequence[int]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependInt32(value)
        return int(self._builder.EndVector())

    def _tables(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())


def conv(padding: int, stride: int, *, depthwise: bool = False) -> dict[int, tuple[str, int]]:
    options = {0: ("Int8", padding), 1: ("Int32", stride), 2: ("Int32", stride)}
    return options | ({3: ("Int32", 1)} if depthwise else {})


def test_every_operator_computes_what_torch_computes(
    tool: ModuleType, rng: np.random.Generator
) -> None:
    def weights(*shape: int) -> NDArray[np.float32]:
        return np.asarray(rng.normal(size=shape).astype(np.float16), np.float32)

    first, bias, slopes = weights(4, 3, 3, 3), weights(4), weights(1, 1, 4)
    each, points, score = (
        weights(1, 3, 3, 4),
        weights(6, 2, 2, 6),
        weights(1, 2, 2, 6) / np.float32(16),
    )
    file = File()
    pixels = file.tensor((1, 6, 6, 3))
    stored = file.constant(first.astype(np.float16))
    kernel = file.operator(tool.DEQUANTIZE, [stored], first.shape)
    b4, b6, b1 = (file.constant(np.zeros(n, np.float32)) for n in (4, 6, 1))
    out = file.operator(
        tool.CONV, [pixels, kernel, file.constant(bias)], (1, 3, 3, 4), conv(SAME, 2)
    )
    out = file.operator(tool.PRELU, [out, file.constant(slopes)], (1, 3, 3, 4))
    side = file.operator(
        tool.DEPTHWISE, [out, file.constant(each), b4], (1, 3, 3, 4), conv(SAME, 1, depthwise=True)
    )
    out = file.operator(tool.ADD, [out, side], (1, 3, 3, 4), {})
    window = conv(SAME, 2) | {3: ("Int32", 2), 4: ("Int32", 2)}
    out = file.operator(tool.MAX_POOL, [out], (1, 2, 2, 4), window)
    more = file.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32))
    out = file.operator(tool.PAD, [out, more], (1, 2, 2, 6))
    ends = [
        file.operator(tool.CONV, [out, file.constant(w), b], (1, 1, 1, len(w)), conv(VALID, 1))
        for w, b in ((points, b6), (score, b1))
    ]
    model = tool.convert(file.content([pixels], ends))

    images = rng.random((5, 6, 6, 3), np.float32)
    found = run(model.SerializeToString(), images)

    def torch_of(value: NDArray[np.floating], *order: int) -> torch.Tensor:
        return torch.from_numpy(value.transpose(order))

    x = functional.pad(torch_of(images, 0, 3, 1, 2), (0, 1, 0, 1))  # 'same' pads right and below
    x = functional.conv2d(x, torch_of(first, 0, 3, 1, 2), torch.from_numpy(bias), stride=2)
    x = functional.prelu(x, torch.from_numpy(slopes.ravel()))
    x = x + functional.conv2d(x, torch_of(each, 3, 0, 1, 2), padding=1, groups=4)
    x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 2)
    x = functional.pad(x, (0, 0, 0, 0, 0, 2))
    expected = functional.conv2d(x, torch_of(points, 0, 3, 1, 2)).reshape(5, 2, 3)
    assert found[0] == pytest.approx(expected.numpy(), abs=1e-4)
    expected = torch.sigmoid(functional.conv2d(x, torch_of(score, 0, 3, 1, 2))).reshape(5)
    assert found[1] == pytest.approx(expected.numpy(), abs=1e-5)
    assert len({float(s) for s in found[1]}) == 5


def test_other_networks_are_refused(tool: ModuleType) -> None:
    file = File()
    pixels = file.tensor((1, 6, 6, 3))
    fused = file.operator(tool.ADD, [pixels, pixels], (1, 6, 6, 3), {0: ("Int8", 1)})
    with pytest.raises(ValueError, match="a fused activation, which MediaPipe's face mesh"):
        tool.convert(file.content([pixels], [fused, fused]))
    file = File()
    pixels = file.tensor((1, 6, 6, 3))
    softmax = file.operator(25, [pixels], (1, 6, 6, 3))
    with pytest.raises(ValueError, match="operator 25"):
        tool.convert(file.content([pixels], [softmax, softmax]))


@pytest.mark.parametrize("content", [None, b"another file"])
def test_a_missing_or_changed_file_is_one_clear_line(
    tool: ModuleType, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / tool.INSIDE
    if content is not None:
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    out = tmp_path / "face_mesh.onnx"
    done = subprocess.run(
        [sys.executable, TOOL, tmp_path, "--out", out], capture_output=True, text=True, check=False
    )
    digest = hashlib.sha256(content or b"").hexdigest()
    words = f"is not that of mediapipe 0.10.21: SHA-256 {digest}" if content else "is missing"
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file} {words}")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_the_face_mesh_is_mediapipe_s(tmp_path: Path, examples: Path) -> None:
    """The converted network and MediaPipe's own runtime, on crops of two faces."""
    python = os.environ.get("MIEN_MEDIAPIPE", "")
    if not python or not Path(python).exists():
        pytest.skip("MIEN_MEDIAPIPE does not name an interpreter that has mediapipe 0.10.21")
    where = (
        "import importlib.util as u; print(u.find_spec('mediapipe').submodule_search_locations[0])"
    )
    package = subprocess.run(
        [python, "-c", where], check=True, capture_output=True, text=True
    ).stdout.strip()
    model = tmp_path / "face_mesh.onnx"
    subprocess.run([sys.executable, TOOL, package, "--out", model], check=True)
    crops = []
    for name, left, top, side in (
        ("astronaut", 145, 15, 160), ("astronaut", 120, 0, 210), ("grace_hopper", 150, 60, 220),
    ):  # fmt: skip
        image = Image.open(examples / f"{name}.jpg").convert("RGB")
        face = image.crop((left, top, left + side, top + side)).resize((192, 192))
        crops += [np.asarray(face), np.asarray(face)[:, ::-1], np.asarray(face.rotate(20))]
    faces = np.stack(crops)
    np.save(tmp_path / "faces.npy", faces)
    subprocess.run(
        [python, ADAPTER, tmp_path / "faces.npy", tmp_path / "out.npz"],
        check=True, capture_output=True,
    )  # fmt: skip
    points, scores = run(model.read_bytes(), np.asarray(faces / 255, np.float32))
    with np.load(tmp_path / "out.npz") as theirs:
        # 192 pixels: a thousandth of a pixel is far below what any face needs.
        assert points == pytest.approx(theirs["points"], abs=1e-3)
        assert scores == pytest.approx(theirs["scores"], abs=1e-5)
    assert (scores > 0.5).sum() >= 6


def run(content: bytes, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(["points", "scores"], {"pixels": images})
    return found
