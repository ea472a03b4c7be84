"""A Reader in threads, copies and other processes answers as it does at home."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mien import Reader, ResourceError
from mien.model.classifier import Classifier
from mien.predict.detectors.yunet import YuNet
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces

METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(threads=2, min_confidence=0.3, rotate="auto")


@pytest.fixture
def path(examples: Path) -> Path:
    return examples / "grace_hopper.jpg"


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, copy.copy, lambda r: pickle.loads(pickle.dumps(r))],  # noqa: S301
)
def test_a_copy_reads_alike(again: Callable[[Reader], Reader], reader: Reader, path: Path) -> None:
    other = again(reader)
    assert repr(other) == repr(reader)
    assert other.read(path) == reader.read(path)
    assert list(other.read_many([path, path])) == list(reader.read_many([path, path]))


def test_parts_given_by_the_caller_are_copied_too(reader: Reader, path: Path) -> None:
    made = Reader(Classifier.load(threads=1), detector=YuNet(threads=1))
    assert pickle.loads(pickle.dumps(made)).read(path) == reader.read(path)  # noqa: S301


@pytest.mark.parametrize("method", METHODS)
def test_in_other_processes(method: str, reader: Reader, path: Path) -> None:
    """The parent has used its sessions' threads before; a fork does not copy those."""
    expected = reader.read(path)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(reader.read, [path, path], timeout=300)) == [expected, expected]


# ONNX Runtime's own handlers at exit wait for ever in a forked process, so it ends without them,
# as those of multiprocessing do.
FORK = """
import os, sys
from mien import Reader
reader, unused = Reader(threads=2), Reader(threads=2)
path = sys.argv[1]
want = reader.read(path)
unused.read(path)
child = os.fork()
if not child:
    del unused  # must not wait for threads that were never copied
    well = list(reader.read_many([path])) == [want]
    grandchild = os.fork()
    if not grandchild:
        well = reader.read(path) == want
        del reader
        os._exit(7 if well else 1)
    well &= os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 7
    os._exit(5 if well else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
assert reader.read(path) == want
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_read_and_end(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, path], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "well"), done.stderr


def test_in_threads(reader: Reader, path: Path) -> None:
    fresh = pickle.loads(pickle.dumps(reader))  # noqa: S301  (all threads open its models at once)
    expected = reader.read(path)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: fresh.read(path), range(8))) == [expected] * 8


class Fragile(FakeDetector):
    """Bears one thread at a time."""

    busy = False
    met = False

    def detect(self, image_hwc: np.ndarray) -> Faces:
        self.met |= self.busy
        self.busy = True
        for _ in range(50):
            threading.Event().wait(0.0001)
        self.busy = False
        return super().detect(image_hwc)


def test_a_detector_that_bears_one_thread_gets_one() -> None:
    detector = Fragile([(0, 0, 9, 9)])
    reader = Reader(FakeClassifier(), detector=detector)
    images = [np.zeros((20, 20), np.uint8)] * 3
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda _: len(list(reader.read_many(images))), range(8))
        assert list(counts) == [3] * 8
    assert not detector.met


def test_readings_travel_too(reader: Reader, path: Path) -> None:
    for given in (path, path.read_bytes(), np.zeros((40, 40, 3), np.uint8)):
        reading = reader.read(given)
        assert pickle.loads(pickle.dumps(reading)) == reading  # noqa: S301
        assert copy.deepcopy(reading) == reading


def test_a_system_without_threads_says_so(
    monkeypatch: pytest.MonkeyPatch, reader: Reader, path: Path
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ResourceError, match="refuses another thread: can't start") as caught:
        list(reader.read_many([path]))
    assert "ulimit" in caught.value.hint
    assert len(list(Reader(threads=1).read_many([path]))) == 1


def test_a_model_that_does_not_fit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ResourceError, match="not enough memory or threads to run mien-small.onnx"):
        Reader()
