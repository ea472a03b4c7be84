"""Measures what training in several processes costs, and computes what more of them would bring.

    python bench/distributed.py --data DIR [--recipe recipes/small.toml] [--set A.B=C]
                                [--processes 2] [--rounds 3] [--batches 8]

Measured, one thread a process, in turns: the CPU time of augmenting a whole batch, which every
process does, and of forward, backward and step on the shard of 1, 1/2, 1/4, ... of it; and, with
--processes that torchrun starts, the wall time of one exchange of the gradients and of the sums of
batch normalisation (gloo over loopback), without any arithmetic beside it.

Computed from these: the time of a step with N processes,

    augmentation + shard(N) + gradients * 2 (N - 1) / N + sums * log2(N)

where `gradients` and `sums` are those of two processes: a ring sends 2 (N - 1) / N of the gradients
through each link, and small messages take a latency per round. Printed: images per second, the gain
over one process, and the gain of N separate trainings, which is N. Validation, which every process
computes too, is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from epoch import learn
from mien.data.dataset import load_dataset
from mien.train.loop.augment import augment
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import batches, make_examples
from mien.train.recipe.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from mien.train.loop.state import TrainingState

WARM_UP, EXCHANGES = 3, 30
LARGEST = 16


def exchange(values: list[int]) -> float:
    """Return the median wall seconds of summing tensors of these sizes over all processes."""
    tensors = [torch.zeros(size) for size in values]
    times = []
    for _ in range(WARM_UP + EXCHANGES):
        distributed.barrier()
        start = time.perf_counter()
        for tensor in tensors:
            distributed.all_reduce(tensor)
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:])


def as_process() -> None:
    """Measure the exchanges; rank 0 prints them. Runs in a process that torchrun started."""
    parameters, norms = json.loads(os.environ["MIEN_BENCH_SIZES"])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    # The mean and the variance, in the forward and in the backward pass.
    found = {"gradients": exchange([parameters]), "sums": exchange([n for n in norms] * 4)}
    if distributed.get_rank() == 0:
        print(json.dumps(found))
    distributed.destroy_process_group()


def exchanges(model: nn.Module, processes: int) -> dict[str, float]:
    """Return the wall seconds of one step's exchanges between processes on this machine."""
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    norms = [
        m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", __file__,
    ]  # fmt: skip
    sizes = {"MIEN_BENCH_SIZES": json.dumps([parameters, norms])}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **sizes}
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def parts(
    recipe: Recipe, state: TrainingState, drawn: list[Any], rounds: int
) -> dict[str, list[float]]:
    """Return the CPU seconds of a batch's augmentation and of its shards, one per round."""
    sizes = [2**power for power in range(int(math.log2(LARGEST)) + 1)]
    found: dict[str, list[float]] = {name: [] for name in ("augment", *map(str, sizes))}
    state.model.train()
    for turn in range(rounds + 1):
        start = time.process_time()
        ready = [(augment(p, recipe.augment, state.changes), t, w) for p, t, w in drawn]
        times = {"augment": time.process_time() - start}
        for size in sizes:
            shards = [tuple(part.chunk(size)[0] for part in batch) for batch in ready]
            start = time.process_time()
            for shard in shards:
                learn(state, recipe, shard)
            times[str(size)] = time.process_time() - start
        if turn:
            for name, seconds in times.items():
                found[name].append(seconds / len(drawn))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/small.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(arguments.recipe, arguments.set)
    dataset = load_dataset(arguments.data)
    whole = recipe.fit.batch_size
    examples = make_examples(dataset.split("train"), recipe).sample(whole * arguments.batches, 0)
    side = int(dataset.images_nhw.shape[1])
    state = initial_state(recipe, examples, side, torch.device("cpu"))
    drawn = list(batches(examples, whole, state.order))
    times = parts(recipe, state, drawn, arguments.rounds)
    between = exchanges(state.model, arguments.processes)
    cost = {name: statistics.median(values) for name, values in times.items()}
    print(f"{recipe.name}, batches of {whole}, {arguments.rounds} rounds of {len(drawn)} batches")
    for name, values in times.items():
        what = "augmentation" if name == "augment" else f"shard of 1/{name}"
        print(f"{what}: {min(values) * 1e3:.1f} to {max(values) * 1e3:.1f} ms CPU a batch")
    print(
        f"{arguments.processes} processes: gradients {between['gradients'] * 1e3:.1f} ms, sums of "
        f"batch normalisation {between['sums'] * 1e3:.1f} ms a step\n"
        "| processes | ms a step | images/s | gain | separate trainings |\n"
        "| ---: | ---: | ---: | ---: | ---: |"
    )
    alone = cost["augment"] + cost["1"]
    for name in list(cost)[1:]:
        n = int(name)
        shared = between["gradients"] * 2 * (n - 1) / n + between["sums"] * math.log2(n)
        step = cost["augment"] + cost[name] + shared
        print(f"| {n} | {step * 1e3:.0f} | {whole / step:.0f} | {alone / step:.2f} | {n} |")


if __name__ == "__main__":
    if "RANK" in os.environ:
        as_process()
    else:
        main()
