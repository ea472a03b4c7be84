"""The doctor's baselines: predictions of training examples by fits without them."""

from __future__ import annotations

import numpy as np
import pytest

from mien.doctor.baseline import hog_baseline
from mien.doctor.programs import baseline
from mien.doctor.programs.baseline import _kernels, kernel_baseline, standardized


@pytest.mark.parametrize("kernel", [0, 1])
@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_a_left_out_example_is_predicted_by_a_fit_without_it(
    kernel: int, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 60)), np.eye(3)[rng.integers(3, size=40)]
    monkeypatch.setattr(baseline, "PENALTIES", (penalty,))
    monkeypatch.setattr(baseline, "_kernels", lambda a, b: [_kernels(a, b)[kernel]])
    scores, _ = kernel_baseline(x, y, x[:1])
    scaled, _ = standardized(x, x)
    inner = _kernels(scaled, scaled)[kernel][0]
    ridge = penalty * np.trace(inner) / 40
    for i in range(40):
        rest = np.delete(np.arange(40), i)
        inverse = np.linalg.inv(inner[np.ix_(rest, rest)] + ridge * np.eye(39))
        offset = inverse.sum(axis=0) @ y[rest] / inverse.sum()
        expected = inner[i, rest] @ inverse @ (y[rest] - offset) + offset
        np.testing.assert_allclose(scores[i], expected, atol=1e-9)


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize(("features", "n"), [(64, 200), (784, 100), (3072, 100)])
def test_random_labels_are_predicted_by_chance(features: int, n: int, balanced: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, features))
    y = np.arange(n) % 10 if balanced else rng.integers(10, size=n)
    scores, _ = kernel_baseline(x, np.eye(10)[y], x[:1])
    # Chance is 0.1; a fit without an example knows a little less of its class.
    assert float((scores.argmax(axis=1) == y).mean()) < 0.25


@pytest.mark.parametrize("n", [70, 140])
def test_random_labels_of_few_images_are_predicted_by_chance(n: int) -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(256, size=(n + 20, 48, 48)).astype(np.uint8)
    y = np.arange(n) % 7
    scores = hog_baseline(images[:n], y, images[n:], 7).leave_one_out_nk
    assert float((scores.argmax(axis=1) == y).mean()) < 0.3
