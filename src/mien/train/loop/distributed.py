"""Training in several processes with one result: torchrun, gradients and batch normalisation.

Each process holds the whole data and the same random generators. It augments the whole batch, so
that the images do not depend on the number of processes, and trains on its shard of it. Gradients
are averaged by `DistributedDataParallel`, and batch normalisation uses the statistics of the whole
batch: N processes take the steps that one would take, up to rounding. Dropout masks differ.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mien.errors import ConfigError, MienError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.train.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes that train one network together; by default this process alone.

    Attributes:
        rank: of this process, from 0. Rank 0 writes the run folder and the messages.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def check(self, recipe: Recipe) -> None:
        """Check that the processes can split each batch into equal shards of two images or more.

        Raises:
            ConfigError: the batch size is no multiple of the number of processes, or too small.
        """
        size = recipe.fit.batch_size
        if size % self.size or size < 2 * self.size:
            larger = max(-(-size // self.size), 2) * self.size
            raise ConfigError(
                f"fit.batch_size is {size}, which {self.size} processes cannot split into equal "
                "shards of two images or more",
                hint=f"set fit.batch_size={larger}, or start fewer processes",
            )
        if self.size > 1 and recipe.distillation.hint:
            # The loss compares each image with every other one of the batch.
            raise ConfigError(
                "distillation.hint needs the whole batch in one process",
                hint="train with one process, or set distillation.hint=0",
            )

    def shard(self, batch: Tensor) -> Tensor:
        """Return this process's shard of a batch [n, ...], [n / size, ...]."""
        if self.size == 1:
            return batch
        return batch.chunk(self.size)[self.rank]

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return what to call for a forward pass whose gradients are averaged.

        The model's batch normalisation is replaced in place, with the same parameters; its state
        dict keeps its names.
        """
        if self.size == 1:
            return model
        _synchronise_batch_norm(model, self.size)
        return DistributedDataParallel(model)

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over the processes."""
        if self.size == 1:
            return value.item()
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total.item() / self.size

    def from_main(self, text: str) -> str:
        """Return rank 0's text in every process; the others wait for it."""
        if self.size == 1:
            return text
        shared = [text]
        try:
            distributed.broadcast_object_list(shared, src=0)
        except RuntimeError as error:
            # Rank 0 ended with an error, which it has shown.
            raise SystemExit(1) from error
        return shared[0]

    def seed_dropout(self, seed: int, epoch: int) -> None:
        """Seed torch's global generator in every process but rank 0, whose state is saved.

        With the same seed the shards of a batch would get the same dropout masks.
        """
        if not self.is_main:
            torch.manual_seed((seed * 1_000_003 + epoch) * 4_096 + self.rank)


ALONE = ProcessGroup()


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started; alone where it started none.

    Messages of all processes but rank 0 are dropped.

    Args:
        device: of the training; a GPU is replaced by the one of this process's local rank.

    Raises:
        ConfigError: the processes need more GPUs than torch sees, or a device of another kind.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"torchrun started more processes than the {torch.cuda.device_count()} GPUs here",
                hint="start one process for each GPU, or set fit.device=cpu",
            )
        torch.cuda.set_device(local)
    elif device.type != "cpu":
        raise ConfigError(
            f"several processes cannot train on {device.type}", hint="set fit.device=cpu"
        )
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    group = ProcessGroup(distributed.get_rank(), size)
    try:
        with contextlib.ExitStack() as stack:
            if not group.is_main:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield group
    except MienError:
        if group.is_main:
            raise
        # Every process met the same error; rank 0 shows it.
        raise SystemExit(1) from None
    finally:
        distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, through which gradients flow back to each of them."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        total = value.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        # Every process's loss depends on every process's value.
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _sum(value: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return result


class _SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation [n, c, ...] with the statistics of all processes' images.

    torch's SyncBatchNorm is for GPUs only. All processes must have equally many images.
    """

    processes = 1

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept what any of torch's batch normalisations takes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        others = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        count = input.numel() // input.shape[1] * self.processes
        # Two passes: the mean of squares less the squared mean would lose digits.
        mean_c = _sum(input.sum(others)) / count
        centred = input - mean_c.view(shape)
        variance_c = _sum((centred * centred).sum(others)) / count
        self._update(mean_c.detach(), variance_c.detach() * (count / (count - 1)))
        result = centred * torch.rsqrt(variance_c + self.eps).view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result

    @torch.no_grad()
    def _update(self, mean_c: Tensor, variance_c: Tensor) -> None:
        """Move the running statistics, as torch's batch normalisation does."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        # Without a momentum they are the plain average of all batches so far.
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean_c, momentum)
        self.running_var.lerp_(variance_c, momentum)


def _synchronise_batch_norm(model: nn.Module, processes: int) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, _synced(child, processes))


def _synced(norm: nn.BatchNorm1d | nn.BatchNorm2d, processes: int) -> _SyncedBatchNorm:
    """Return a synchronised form that shares the parameters and buffers of `norm`."""
    synced = _SyncedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    # The optimizer holds these very parameters.
    synced._parameters, synced._buffers = norm._parameters, norm._buffers
    synced.processes = processes
    synced.train(norm.training)
    return synced
