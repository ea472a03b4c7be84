"""dlib's face-recognition ResNet up to 256 channels, for grey faces.

The network of dlib's `dnn_face_recognition_ex` (a ResNet-34 with half the filters and fewer
layers; King 2017, http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html)
without its last block. Its fixed affine layers are batch normalisation here. The geometry is
dlib's to the pixel, so that `fit.pretrained = "dlib-face"` can give it dlib's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional

from mien.train.networks.body import Body
from mien.train.recipe.ranges import Dropout, Range

STAGES = ((32, 3), (64, 4), (128, 3), (256, 3))
"""Channels and residual blocks of each stage; all but the first halve the image."""
SMALLEST, LARGEST = 56, 224
"""Allowed sides in pixels: the last stage's kernels do not fit smaller images."""


@dataclass(frozen=True, slots=True)
class FaceResnetOptions:
    """Input size and regularisation of the face-recognition ResNet.

    Attributes:
        size: side to which the network upsamples its crops (bicubic), pixels; dlib itself uses 150.
            With `fit.initial_size`, smaller crops are upsampled to the same fraction of it.
        dropout: dropout probability before the last layer.
    """

    size: Annotated[int, Range(SMALLEST, LARGEST)] = 112
    dropout: Dropout = 0.3


class FaceResnet(Body):
    """Normalised crops [n, 1, s, s] → logits [n, classes]."""

    def __init__(self, options: FaceResnetOptions, input_size: int, classes: int) -> None:
        super().__init__()
        self.size, self.input_size = options.size, input_size
        stem = STAGES[0][0]
        layers: list[nn.Module] = [
            nn.Conv2d(1, stem, 7, 2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        ]
        channels = stem
        for width, blocks in STAGES:
            for _ in range(blocks):
                layers.append(Block(channels, width))
                channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes]."""
        logits: Tensor = self.head(self.dropout(self.pool(self.features(self.upsample(x)))))
        return logits

    def classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.head

    def last_stage(self) -> list[nn.Module]:
        """Return the blocks of the last width, and what follows them."""
        blocks = list(self.features)[-STAGES[-1][1] :]
        return [*blocks, self.dropout, self.head]

    def upsample(self, x: Tensor) -> Tensor:
        """Return crops [n, 1, s, s] at the network's own size."""
        # Relative to the crop: `fit.initial_size` trains on smaller crops in the first epochs.
        side = max(SMALLEST, round(x.shape[-1] * self.size / self.input_size))
        if x.shape[-1] == side:
            return x
        return functional.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut without parameters.

    A block that widens also halves the image: its first convolution is unpadded with stride 2,
    its shortcut the mean of 2x2 pixels. Missing channels, rows and columns count as zeros.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halves = inputs != outputs
        self.widening = outputs - inputs
        stride, padding = (2, 0) if self.halves else (1, 1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, [n, outputs, h, w] or [n, outputs, h // 2, w // 2]."""
        branch = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        if self.halves:
            x = functional.avg_pool2d(x, 2)
            # For an even side, the unpadded convolution returns one pixel less than the pooling.
            missing = x.shape[-1] - branch.shape[-1]
            if missing:
                branch = functional.pad(branch, (0, missing, 0, missing))
            x = functional.pad(x, (0, 0, 0, 0, 0, self.widening))
        result: Tensor = self.act2(branch + x)
        return result
