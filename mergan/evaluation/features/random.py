"""A randomly initialised VGG16 (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mergan.config.ranges import Count, Whole
from mergan.data import normalise
from mergan.evaluation.features.base import FeatureSpace

BATCH = 100  # images at a time; fixed, because a sum may round differently in another batch
STRIDE = 32  # pixels of the image to a position of the last feature map
POOLED = 7  # side of the feature map that the first linear layer of VGG16 reads
HIDDEN = 4096
STD = 0.01  # of the weights of linear layers in torchvision


class RandomNetwork(FeatureSpace):
    """VGG16 (Simonyan & Zisserman 2015, arXiv 1409.1556) with random weights and `outputs` outputs.

    Naeem et al. recommend such features where no network was trained on similar data: nothing has taught
    them to ignore a part of the image. Layers and initialisation are torchvision's. What differs is the
    input: images of 32 x 32 pixels in [-1, 1] in place of 224 x 224 ones, which take 49 times as long.
    There the last feature map has one position. torchvision repeats it to 7 x 7 and multiplies the copies
    with 49 weights, each N(0, 0.01^2); here the sum of these weights, N(0, 0.07^2), is drawn at once.
    `gain` changes FID and KID only.

    Args:
        outputs: D.
        size: side of the images that the network sees. Larger images are averaged, smaller ones enlarged.
        gain: factor on the features; without it they are so small that FID would have no digits.
        per_class: see FeatureSpace.
        seed: seed of the weights; the global random state does not change.
    """

    def __init__(
        self,
        outputs: Count,
        size: Annotated[int, Literal[32, 64, 128, 224]],
        gain: float,
        per_class: Count | None,
        seed: Whole,
    ) -> None:
        self.size = size
        self.gain = gain
        self.per_class = per_class
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = vgg16(size // STRIDE, outputs)

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.network.to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        parts = (self._prepared(part.to(self.device)) for part in images.split(BATCH))
        return torch.cat([self.network(part) for part in parts]).cpu() * self.gain

    def _prepared(self, images: Tensor) -> Tensor:
        """images uint8 (N, C, S, S) -> (N, 3, size, size) in [-1, 1]; grey is repeated."""
        pixels = normalise(images)
        if pixels.shape[-1] != self.size:
            pixels = F.interpolate(
                pixels, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def vgg16(side: int, outputs: int) -> nn.Sequential:
    """A VGG16 in eval mode, with weights from the global random state: (N, 3, S, S) -> (N, outputs).

    Args:
        side: S / 32. The first linear layer reads the last feature map as it is. Its weights have the
            standard deviation 0.01 * 7 / side: as if torchvision's pooling repeated the map to 7 x 7.
        outputs: number of outputs.
    """
    from torchvision.models.vgg import cfgs, make_layers  # here, because importing it takes a second

    layers: nn.Sequential = make_layers(cfgs["D"])
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    linear = [
        _linear(512 * side**2, HIDDEN, STD * POOLED / side),
        _linear(HIDDEN, HIDDEN, STD),
        _linear(HIDDEN, outputs, STD),
    ]
    network = nn.Sequential(layers, nn.Flatten(), linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    return network.to(memory_format=torch.channels_last).eval()


def _linear(inputs: int, outputs: int, std: float) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer
