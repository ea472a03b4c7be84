"""A run folder's network for explanations: feature maps, gradients, randomised weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mien.explain.explainable import random_weights, unmoved
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.info import ModelInfo
from mien.train.run.folder import load_scorer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.train.networks.registry import Model
    from mien.train.run.folder import RunScorer


@dataclass(slots=True)
class Views:
    """Outputs of the layers, in order, for each pass through the body.

    Attributes:
        outputs: one list per view: the face and, for models that mirror, its mirror image.
    """

    outputs: list[list[tuple[nn.Module, Tensor]]] = field(default_factory=list)

    def features(self, view: int) -> dict[int, Tensor]:
        """Return the last feature maps of each side that convolutions computed, by side."""
        sides: set[int] = set()
        last: dict[int, Tensor] = {}
        for module, output in self.outputs[view]:
            if output.dim() == 4:
                side = output.shape[3]
                if isinstance(module, nn.Conv2d):
                    sides.add(side)
                last[side] = output
        return {side: last[side] for side in sorted(sides, reverse=True)}


class RunExplainable:
    """A run's network as mien.explain.explainable.Explainable.

    Args:
        scorer: the network of the run.
    """

    def __init__(self, scorer: RunScorer[Model]) -> None:
        self._scorer = scorer
        self.info = ModelInfo(scorer.name, scorer.labels, scorer.input_size, ALIGNMENT_ID)
        size = scorer.input_size
        with torch.no_grad():
            _, views = self._watch(np.zeros((1, size, size), np.uint8))
        self.sides = tuple(views.features(0))
        # By the order in which they run, which the order of definition need not be.
        run = [m for m, _ in views.outputs[0] if isinstance(m, nn.Conv2d | nn.Linear)]
        names = {module: name for name, module in scorer.model.named_modules()}
        self.layers = tuple(names[module] for module in run)

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> RunExplainable:
        """Return the best network of a run folder; errors are those of `load_scorer`.

        Args:
            path: of the run folder.
            threads: CPU threads of torch; 0 keeps the current number.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        return cls(load_scorer(path))

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        return self._scorer.logits(crops_nhw)

    def kernels(self) -> NDArray[np.float32]:
        """Return the first convolution's kernels, float32 [c, h, w]; [0, 0, 0] without any."""
        for module in self._modules():
            if isinstance(module, nn.Conv2d):
                kernels: NDArray[np.float32] = module.weight.detach()[:, 0].numpy().copy()
                return kernels
        return np.zeros((0, 0, 0), np.float32)

    def feature_maps(self, crop_hw: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """Return each side's feature maps, float32 [c, side, side], of a crop as it is given."""
        with torch.no_grad():
            _, views = self._watch(crop_hw[None])
        return {side: maps[0].numpy() for side, maps in views.features(0).items()}

    def grad_cam(
        self, crops_nhw: NDArray[np.uint8], targets_n: NDArray[np.int64], side: int
    ) -> NDArray[np.float32]:
        """Return Grad-CAM before its rectification, float32 [n, side, side], in logits."""
        with torch.enable_grad():
            logits, views = self._watch(crops_nhw)
            features = [views.features(view)[side] for view in range(len(views.outputs))]
            chosen = logits[torch.arange(len(logits)), torch.from_numpy(targets_n)]
            # Faces of a batch do not interact: the sum's gradient holds each face's own.
            gradients = torch.autograd.grad(chosen.sum(), features)
        total = torch.zeros(len(crops_nhw), side, side)
        # Selvaraju et al. 2017: the weight of a feature map is the mean of its gradient.
        for view, (maps, gradient) in enumerate(zip(features, gradients, strict=True)):
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            cam = (weights * maps.detach()).sum(dim=1)
            total += cam.flip(2) if view else cam  # the second view is the mirror image
        return total.numpy()

    def places(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the alignment of each crop, float32 [n, 2, 3]: aligned to given coordinates."""
        model = self._scorer.model
        if model.align is None:
            return unmoved(len(crops_nhw))
        with torch.no_grad():
            pixels = torch.from_numpy(np.ascontiguousarray(crops_nhw))[:, None].float()
            places: NDArray[np.float32] = model.align.similarity(model.normalise(pixels)).numpy()
        return places

    def randomised(self, last: int, seed: int) -> RunExplainable:
        """Return this model with `random_weights` in its `last` layers."""
        model = copy.deepcopy(self._scorer.model)
        modules = dict(model.named_modules())
        for index in range(len(self.layers) - last, len(self.layers)):
            module = modules[self.layers[index]]
            for number, weights in enumerate((module.weight, module.bias)):
                if isinstance(weights, Tensor):
                    random = random_weights(weights.detach().numpy(), seed, 2 * index + number)
                    weights.data.copy_(torch.from_numpy(random))
        return RunExplainable(replace(self._scorer, model=model))

    def _modules(self) -> list[nn.Module]:
        modules = dict(self._scorer.model.named_modules())
        return [modules[name] for name in self.layers]

    def _watch(self, crops_nhw: NDArray[np.uint8]) -> tuple[Tensor, Views]:
        """Return the logits, [n, k], and the outputs of every layer."""
        model, views = self._scorer.model.eval(), Views()

        def keep(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            views.outputs[-1].append((module, output))

        # The body alone: the alignment's convolutions explain where the face is, not what it shows.
        leaves = [m for m in model.body.modules() if not list(m.children())]
        hooks = [leaf.register_forward_hook(keep) for leaf in leaves]
        hooks.append(model.body.register_forward_pre_hook(lambda *_: views.outputs.append([])))
        try:
            pixels = torch.from_numpy(np.ascontiguousarray(crops_nhw))[:, None]
            logits: Tensor = model(pixels.float())
        finally:
            for hook in hooks:
                hook.remove()
        # The predicted labels come first among the learnt ones.
        return logits[:, : len(self._scorer.labels)], views
