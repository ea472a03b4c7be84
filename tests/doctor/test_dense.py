"""Dense outputs: segmentations and sequences, whose faults are named and whose twins are sound."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.doctor.loops import Loss, names, train
from torch import Tensor, nn

from mien import doctor
from mien.doctor.programs.alignment import turned_targets
from mien.doctor.programs.link import link_of
from mien.doctor.programs.neighbourhoods import neighbourhoods
from mien.doctor.programs.outputs import OutputSummary
from mien.doctor.programs.supply import gather

CE = nn.CrossEntropyLoss()
watched = functools.partial(train, epochs=10, lr=1e-2, batch=16, every=4)


def stripes(n: int = 240, width: int = 5, height: int = 3) -> tuple[Tensor, Tensor]:
    """Bars of two grey levels on a dark, noisy ground of 8 x 8; masks 1 and 2 where they are."""
    torch.manual_seed(0)
    x, y = torch.rand(n, 1, 8, 8) * 0.4, torch.zeros(n, 8, 8, dtype=torch.long)
    for i in range(n):
        top, left = int(torch.randint(9 - height, ())), int(torch.randint(9 - width, ()))
        kind = 1 + i % 2
        x[i, 0, top : top + height, left : left + width] += 0.5 * kind
        y[i, top : top + height, left : left + width] = kind
    return x, y


def convolutions(outputs: int, *last: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, outputs, 3, padding=1), *last
    )


def test_a_segmentation_is_recognised_with_its_base_rate_and_recalls() -> None:
    x, y = stripes()
    watch = watched(convolutions(3), CE, x, y, classes=("ground", "dim", "bright"))
    evidence, report = gather(watch), watch.report()
    assert report.findings == ()
    assert report.facts["task"] == "dense classification"
    # The entropy of all pixels' classes, not of the sampled ones.
    prior = torch.bincount(y[:180].reshape(-1)).double() / y[:180].numel()
    assert evidence.chance == pytest.approx(float(-(prior * prior.log()).sum()), rel=1e-6)
    assert list(evidence.class_counts_k) == torch.bincount(y[:180].reshape(-1)).tolist()
    constant = float(report.facts["accuracy of a constant"])
    assert constant == pytest.approx(float((y[180:] == 0).float().mean()), abs=0.03)
    assert float(report.facts["validation accuracy"]) > constant + 0.05
    assert report.facts["validation recall"].startswith("ground ")
    assert evidence.validation.probs_nk is not None
    assert len(evidence.validation.y_true_n) <= 2100


@pytest.mark.parametrize("turn", ["transpose", "flip"])
def test_masks_that_do_not_lie_on_their_images_are_named(turn: str) -> None:
    x, y = stripes(width=3, height=1)
    wrong = y.transpose(1, 2).contiguous() if turn == "transpose" else y.flip(2)
    report = watched(convolutions(3), CE, x, wrong).report()
    assert [f.name for f in report.findings if f.severity == "serious"] == ["masks-misaligned"]
    words = "transposed" if turn == "transpose" else "mirrored left to right"
    assert words in report.findings[0].evidence


def test_a_softmax_before_cross_entropy_is_seen_over_the_classes() -> None:
    x, y = stripes()
    assert "loss-activation-mismatch" in names(watched(convolutions(3, nn.Softmax(1)), CE, x, y))


def test_ignored_pixels_count_neither_as_a_class_nor_as_errors() -> None:
    x, y = stripes()
    y[:, :3] = 255
    watch = watched(convolutions(3), nn.CrossEntropyLoss(ignore_index=255), x, y)
    assert names(watch) == []
    evidence = gather(watch)
    assert evidence.class_counts_k.sum() == int((y[:180] != 255).sum())
    assert evidence.train.y_true_n.max() == 2
    # A class that the loss ignores has no label on purpose.
    shifted = torch.where(y == 255, 0, y + 1)
    watch = watched(convolutions(4), nn.CrossEntropyLoss(ignore_index=0), x, shifted)
    assert names(watch) == []


def test_a_network_that_learns_no_pixel_is_named() -> None:
    x, y = stripes(height=5)

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = convolutions(3), nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            # One value for the whole image: what is at a pixel is lost.
            pooled = self.body(images).mean(dim=(2, 3), keepdim=True)
            found: Tensor = self.head(pooled).expand(-1, -1, *images.shape[2:])
            return found

    assert "underfitting" in names(watched(Detached(), CE, x, y, lr=3e-3))


def test_a_binary_mask_is_two_classes_and_one_that_is_missed_is_named() -> None:
    x, y = stripes()
    mask = (y[:, None] > 0).float()
    watch = watched(convolutions(1), nn.BCEWithLogitsLoss(), x, mask)
    assert names(watch) == []
    facts = watch.report().facts
    assert facts["task"] == "dense classification"
    assert "foreground " in facts["validation recall"]
    rare = mask.clone()
    rare[:, :, :, 1:] = 0  # 2% of the pixels
    watch = watched(convolutions(1), nn.BCEWithLogitsLoss(), x, rare, epochs=4, lr=5e-3)
    found = names(watch)
    assert "background-only" in found
    assert "underfitting" not in found


class Tagger(nn.Module):
    """An embedding and a recurrent layer; `form` of the outputs [n, l, k]."""

    def __init__(self, form: Callable[[Tensor], Tensor], k: int = 3) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.rnn = nn.Embedding(40, 12), nn.GRU(12, 24, batch_first=True)
        self.head, self.form = nn.Linear(24, k), form

    def forward(self, tokens: Tensor) -> Tensor:
        return self.form(self.head(self.rnn(self.embed(tokens))[0]))


def sentences(n: int = 320) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    tokens = torch.randint(0, 40, (n, 9))
    return tokens, tokens % 3


FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Loss]] = {
    "classes second": (lambda x: x.transpose(1, 2), CE),
    "reshaped in the loop": (lambda x: x, lambda p, t: CE(p.reshape(-1, 3), t.reshape(-1))),
    "reshaped in the model": (lambda x: x.reshape(-1, 3), lambda p, t: CE(p, t.reshape(-1))),
}


@pytest.mark.parametrize("form", FORMS)
def test_tags_are_recognised_in_each_form(form: str) -> None:
    shape, loss = FORMS[form]
    x, y = sentences()
    watch = watched(Tagger(shape), loss, x, y, lr=0.02)
    facts = watch.report().facts
    assert names(watch) == []
    assert facts["task"] == "dense classification"
    assert float(facts["validation accuracy"]) > 0.95


def test_targets_in_one_dimension_belong_to_their_sequences() -> None:
    x, y = sentences(256)
    model = Tagger(lambda h: h.reshape(-1, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with doctor.watch(model, optimizer, loss=CE) as watch:
        for _ in range(5):
            for rows in torch.randperm(256).split(16):
                optimizer.zero_grad()
                loss = CE(model(x[rows]), y[rows].reshape(-1))
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows].reshape(-1))
    assert watch.report().facts["task"] == "dense classification"
    assert gather(watch).train.y_true_n.max() == 2


def test_a_view_that_mixes_positions_is_named() -> None:
    x, y = sentences()
    (found, *_) = watched(Tagger(lambda h: h.reshape(len(h), 3, -1)), CE, x, y).report().findings
    assert (found.name, found.severity, found.confidence) == ("positions-mixed", "serious", "high")
    images, masks = stripes()
    watch = watched(convolutions(3), CE, images, masks, flat=lambda x: x.reshape(-1, 3))
    (found, *_) = watch.report().findings
    assert found.name == "positions-mixed"
    assert "view(-1, 3)" in found.evidence
    moved = watched(
        convolutions(3), CE, images, masks, flat=lambda x: x.permute(0, 2, 3, 1).reshape(-1, 3)
    )
    assert names(moved) == []


class Causal(nn.Module):
    """A language model that shifts the labels itself, as those of Hugging Face do."""

    def __init__(self, *, shifts: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.embed, self.rnn = nn.Embedding(30, 16), nn.GRU(16, 32, batch_first=True)
        self.head, self.shifts = nn.Linear(32, 30), shifts

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.head(self.rnn(self.embed(input_ids))[0])
        if labels is None:
            return {"logits": logits}
        first, second = (logits[:, :-1], labels[:, 1:]) if self.shifts else (logits, labels)
        loss = nn.functional.cross_entropy(first.reshape(-1, 30), second.reshape(-1))
        return {"loss": loss, "logits": logits}


def language(model: nn.Module, factor: float = 1.0) -> doctor.programs.watch.Watch:
    torch.manual_seed(5)
    chain, ids = torch.randperm(30), torch.randint(0, 30, (256, 1))
    for _ in range(14):
        random = torch.randint(0, 30, (256, 1))
        ids = torch.cat([ids, torch.where(torch.rand(256, 1) < 0.7, chain[ids[:, -1:]], random)], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(6):
            for rows in torch.randperm(192).split(16):
                optimizer.zero_grad()
                loss = model(input_ids=ids[rows], labels=ids[rows])["loss"]
                loss = loss if factor == 1 else factor * loss
                loss.backward()
                optimizer.step()
                watch.step(loss, {"input_ids": ids[rows]}, ids[rows])
            watch.validate(model, {"input_ids": ids[192:]}, ids[192:])
    return watch


def test_labels_that_the_model_shifts_itself_are_no_fault() -> None:
    watch = language(Causal())
    assert watch.link is not None
    assert watch.link.shifts
    report = watch.report()
    assert report.findings == ()
    # Each token follows from the one before, seven times out of ten.
    assert 0.5 < float(report.facts["validation accuracy"]) < 0.8
    assert "class-recall" in report.not_judged


def test_labels_that_nobody_shifts_are_named() -> None:
    assert "targets-are-inputs" in names(language(Causal(shifts=False)))


def test_where_the_loss_is_not_known_nobody_is_accused() -> None:
    watch = language(Causal(), factor=0.5)
    assert watch.link is None
    report = watch.report()
    assert report.findings == ()
    assert "whether the model shifts" in report.not_judged["targets-are-inputs"]


def test_the_neighbourhood_of_a_pixel_and_of_a_token() -> None:
    images = torch.arange(2 * 16.0).reshape(2, 1, 4, 4)
    found = neighbourhoods(images, torch.tensor([1]), torch.tensor([5]), (4, 4))
    assert found is not None
    assert found.shape == (1, 27)
    # Row 1, column 1 of the second image; 5 rows of 5, and where it is.
    assert found[0, 12] == 21
    assert found[0, 25:].tolist() == [0.25, 0.25]
    tokens = torch.tensor([[7, 8, 9, 10, 11]])
    found = neighbourhoods(tokens, torch.tensor([0, 0]), torch.tensor([1, 4]), (5,))
    assert found is not None
    # Four tokens back from each, none from after it; before the first there is none.
    assert [row.nonzero()[:, 0].tolist() for row in found] == [
        [8, 64 + 7], [11, 64 + 10, 128 + 9, 192 + 8]
    ]  # fmt: skip


def test_masks_are_turned_about_their_own_axes() -> None:
    masks = torch.arange(16).reshape(1, 16)
    place = torch.tensor([1])  # row 0, column 1
    turned = turned_targets(masks, (4, 4), torch.tensor([0]), place)
    assert turned["transposed (rows and columns exchanged)"][0] == 4
    assert turned["mirrored left to right"][0] == 2
    assert "turned by 90 degrees" not in turned_targets(
        torch.arange(20).reshape(1, 20), (4, 5), torch.tensor([0]), place
    )


def test_the_sums_of_dense_outputs_are_over_their_classes() -> None:
    output = torch.randn(4, 3, 6, 6).softmax(dim=1)
    target = torch.randint(0, 3, (4, 6, 6))
    link = link_of(CE, CE(output, target), output, target)
    assert link is not None
    summary = OutputSummary()
    summary.add(link, output, target)
    found = summary.statistics("")
    assert found is not None
    assert (found.units, found.sum_error < 1e-5) == (3, True)


def test_few_values_of_a_large_vocabulary_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr("mien.doctor.programs.examine.MAX_VALUES", 2000)
    x, y = sentences()
    watch = watched(Tagger(lambda h: h.transpose(1, 2)), CE, x, y, epochs=2)
    # 16 sentences of 9 tokens and 3 classes: the fifth batch is the first beyond the limit.
    assert gather(watch).train.probs_nk is not None
    assert len(gather(watch).train.y_true_n) <= 5 * 16 * 9
