"""The callbacks against the real trainers, where these are installed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mien.doctor.integrations.huggingface import loss_of
from mien.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    y = torch.randint(3, (192,))
    return torch.randn(192, 8) + 2 * torch.eye(8)[y], y


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    from mien.doctor.integrations.lightning import lightning_callback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(1))

        def forward(self, x: torch.Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Any:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            self(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-2)

    callback = lightning_callback(nn.CrossEntropyLoss())
    with pytest.raises(ConfigError, match="has watched no training"):
        callback.report()
    x, y = data()
    trainer = lightning.Trainer(
        max_epochs=4, callbacks=[callback], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(
        Module(),
        DataLoader(TensorDataset(x[:144], y[:144]), 16, shuffle=True),
        DataLoader(TensorDataset(x[144:], y[144:]), 48),
    )
    report = callback.report()
    assert [f.name for f in report.findings] == ["loss-activation-mismatch"]
    assert callback.watch.steps == 36
    assert len(callback.watch.boundaries) == 4


def test_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    from mien.doctor.integrations.huggingface import huggingface_callback

    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=3, max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    for parameter in model.bert.encoder.parameters():
        parameter.requires_grad = False
    rows = [
        {"input_ids": torch.randint(15, (8,)) + 15 * (i % 3), "labels": i % 3} for i in range(96)
    ]
    callback = huggingface_callback()
    with pytest.raises(ConfigError, match="has watched no training"):
        callback.report()
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=3, per_device_train_batch_size=8, learning_rate=5e-3,
        report_to=[], save_strategy="no", eval_strategy="epoch", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows[:72], eval_dataset=rows[72:], callbacks=[callback]
    )
    trainer.train()
    report = callback.report()
    assert callback.watch.steps == 27
    assert callback.watch.optimizer_steps > 0
    assert len(callback.watch.boundaries) == 3
    assert report.facts["task"] == "classification"
    assert not {"optimizer-not-stepped", "diverged"} & {f.name for f in report.findings}


def test_the_loss_of_a_model_for_hugging_face_is_where_the_trainer_finds_it() -> None:
    loss, logits = torch.tensor(0.7), torch.zeros(4, 3)
    for output in ({"loss": loss, "logits": logits}, (loss, logits), SimpleNamespace(loss=loss)):
        assert loss_of(output) is loss
    nothing: tuple[object, ...] = ({"logits": logits}, (logits,), (), logits)
    for other in nothing:
        assert loss_of(other) is None
