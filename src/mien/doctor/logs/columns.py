"""Which quantity a logged name stands for: 'eval/loss' and 'val_loss' are the validation loss."""

from __future__ import annotations

import re
from typing import Literal

Role = Literal["loss", "validation loss", "accuracy", "validation accuracy", "learning rate",
               "gradient norm", "step", "epoch"]  # fmt: skip

KNOWN: dict[Role, tuple[str, ...]] = {
    "loss": ("loss", "train_loss", "train/loss", "loss/train"),
    "validation loss": ("val_loss", "validation_loss", "eval/loss", "loss/test"),
    "accuracy": ("acc", "accuracy", "train_accuracy"),
    "validation accuracy": ("val_acc", "val_accuracy", "eval/accuracy"),
    "learning rate": ("lr", "learning_rate", "lr-Adam"),
    "gradient norm": ("grad_norm", "gradient_norm"),
    "step": ("step", "global_step", "iteration"),
    "epoch": ("epoch",),
}
"""Examples of names for each quantity, for messages and the documentation."""
HELD_OUT = {"val", "valid", "validation", "eval", "test", "dev", "vloss"}


def role_of(name: str) -> Role | None:
    """Return the quantity that a column or tag stands for; None if it is none of them."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = [w for w in re.split(r"[^a-z0-9]+", spaced.lower()) if w]
    known = set(words)
    held = bool(known & HELD_OUT)
    if "loss" in known or any(w.endswith("loss") for w in known):
        return "validation loss" if held or "valloss" in known else "loss"
    if known & {"acc", "accuracy", "top1"} or any(w.endswith("acc") for w in known):
        return "validation accuracy" if held or "valacc" in known else "accuracy"
    if "lr" in known or {"learning", "rate"} <= known:
        return "learning rate"
    if "norm" in known and known & {"grad", "gradient", "gradients"}:
        return "gradient norm"
    # Not a speed, such as steps_per_second.
    if "per" not in known and known & {"step", "steps", "iteration", "iter", "batch"}:
        return "step"
    return "epoch" if known & {"epoch", "epochs"} else None
