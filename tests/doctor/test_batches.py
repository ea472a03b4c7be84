"""Batches in the forms that loops use, and how outputs become a loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mien.doctor.programs.link import link_of
from mien.doctor.programs.trees import (
    call,
    features,
    head,
    is_tokens,
    main_output,
    map_tensors,
    rows,
    tensors,
)

X = torch.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    "tree",
    [X, X.numpy(), (X, torch.ones(4)), [X], {"x": X, "length": torch.ones(4)}, {"n": [{"x": X}]}],
)
def test_every_form_of_a_batch_has_rows(tree: Any) -> None:
    assert rows(tree) == 4
    assert torch.equal(next(tensors(tree)), X)
    assert rows(head(tree, 2)) == 2
    doubled = map_tensors(tree, lambda t: t * 2)
    assert torch.equal(next(tensors(doubled)), X * 2)


def test_what_holds_no_tensor_has_no_rows() -> None:
    assert rows("text") == rows(None) == rows(torch.tensor(3.0)) == 0
    assert map_tensors("text", lambda t: t) == "text"


def test_head_is_a_copy_and_keeps_what_has_other_rows() -> None:
    weights = torch.ones(7)
    kept = head({"x": X, "class_weights": weights}, 2)
    assert len(kept["class_weights"]) == 7
    kept["x"][0, 0] = 99.0
    assert X[0, 0] == 0.0


def test_models_are_called_as_the_batch_is_held() -> None:
    class Pair(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a - b

    for given in ({"a": X, "b": 1}, (X, 1), [X, 1]):
        assert torch.equal(call(Pair(), given), X - 1)
    assert torch.equal(call(nn.Identity(), X), X)


def test_the_main_output_of_every_form() -> None:
    logits = torch.randn(4, 2)
    for output in (
        logits, SimpleNamespace(logits=logits), {"loss": torch.tensor(1.0), "logits": logits},
        (torch.arange(4), logits),
    ):  # fmt: skip
        assert main_output(output) is logits
    assert main_output(torch.arange(4)) is None


def test_features_are_rows_and_token_ids_are_counts() -> None:
    values = features([X.reshape(4, 3, 1), X[:2].reshape(2, 3, 1)])
    assert values is not None
    assert values.shape == (6, 3)
    tokens = torch.tensor([[1, 1, 5], [5, 1, 1]])
    assert is_tokens(tokens)
    assert not is_tokens(tokens.to(torch.uint8))
    counts = features([tokens])
    assert counts is not None
    # The order of words does not matter, and a count enters by its root.
    assert np.array_equal(counts[0], counts[1])
    assert counts[0, 1] == pytest.approx(2**0.5)
    assert features([X, torch.ones(4, 9)]) is None
    assert features([X.to(torch.complex64)]) is None
    assert features([]) is None


LOSSES: list[tuple[Any, Any, torch.Tensor, str]] = [
    (nn.CrossEntropyLoss(), lambda z, y: functional.cross_entropy(z, y), torch.arange(4) % 3,
     "CrossEntropyLoss"),
    (None, lambda z, y: functional.cross_entropy(z, y), torch.arange(4) % 3, "cross_entropy"),
    (None, lambda z, y: functional.nll_loss(z.log_softmax(1), y), torch.arange(4) % 3,
     "cross_entropy"),
    (None, lambda z, y: functional.mse_loss(z, y), torch.randn(4, 3), "mse_loss"),
    (None, lambda z, y: functional.l1_loss(z, y), torch.randn(4, 3), "l1_loss"),
    (None, lambda z, y: functional.huber_loss(z, y), torch.randn(4, 3), "huber_loss"),
    (None, lambda z, y: functional.smooth_l1_loss(z, y), torch.randn(4, 3), "smooth_l1_loss"),
    (None, lambda z, y: functional.binary_cross_entropy_with_logits(z, y), torch.ones(4, 3),
     "binary_cross_entropy_with_logits"),
    (nn.BCELoss(), lambda z, y: functional.binary_cross_entropy(z.sigmoid(), y),
     torch.ones(4, 3), "BCELoss"),
    (nn.MSELoss(), lambda z, y: functional.mse_loss(z, functional.one_hot(y, 3).float()),
     torch.arange(4) % 3, "MSELoss"),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "loss", "targets", "name"), LOSSES)
def test_a_link_reproduces_the_loss(
    criterion: Any, loss: Any, targets: torch.Tensor, name: str
) -> None:
    torch.manual_seed(1)
    output = torch.randn(4, 3, requires_grad=True)
    link = link_of(criterion, loss(output, targets), output, targets)
    assert link is not None
    assert link.name == name
    # It must follow the loss elsewhere, too: not only the value that it was chosen by.
    other = torch.randn(4, 3)
    assert float(link.loss(other, targets)) == pytest.approx(float(loss(other, targets)), rel=1e-4)


def test_a_loss_of_another_kind_has_no_link() -> None:
    output = torch.randn(4, 3, requires_grad=True)
    assert link_of(None, output.square().sum() * 3, output, torch.arange(4) % 3) is None
    assert link_of(nn.CrossEntropyLoss(), torch.tensor(99.0), output, torch.arange(4) % 3) is None


def test_a_criterion_that_raises_has_no_link() -> None:
    def broken(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    output = torch.randn(4, 3, requires_grad=True)
    assert link_of(broken, output.sum(), output, torch.arange(4)) is None
