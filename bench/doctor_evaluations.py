"""Faults that show in a trained model's outputs, for bench/doctor_programs.py.

In a file of their own, registered last: with --quick a fault's place decides in which program it is
planted, and earlier figures must stay comparable.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from doctor_cases import Setup
from doctor_operators import EVERY, fault, rebuild


class Always(nn.Module):
    """Dropout as torch.nn.functional.dropout does by default: also in evaluation mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, 0.3)


@fault("dropout-in-evaluation", "stochastic-evaluation", on=EVERY)
def _always(s: Setup, seed: int) -> None:
    if isinstance(s.model, nn.Sequential):
        last = len(s.model) - 1
        s.model = nn.Sequential(*list(s.model)[:last], Always(), s.model[last])
        rebuild(s)
    else:
        s.model.drop = Always()  # of the text classifiers


@fault("target-column", "target-leakage", on=("classes", "regression"))
def _column(s: Setup, seed: int) -> None:
    c = s.case
    x, xv = (torch.cat([x, y.reshape(-1, 1).float()], dim=1) for x, y in ((c.x, c.y), (c.xv, c.yv)))
    s.case = replace(c, x=x, xv=xv)
    first = s.model[0] if isinstance(s.model, nn.Sequential) else None
    assert isinstance(first, nn.Linear)
    s.model = nn.Sequential(
        nn.Linear(x.shape[1], first.out_features), *list(s.model.children())[1:]
    )
    rebuild(s)
