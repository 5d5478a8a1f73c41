"""The pair in the code of Memory Replay GANs (Wu et al. 2018): 5x5 convolutions, conditional batch norm."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, ImageSize
from mergan.networks.dcgan import BASE, trunk
from mergan.networks.fast.thin import ThinConvTranspose2d
from mergan.networks.layers import ClassLinear, ConditionalNorm, num_doublings


class Generator(nn.Module):
    """z -> linear -> [conditional batch norm, ReLU, transposed 5x5 convolution] x n -> tanh.

    At 32 pixels with width 32, z of 128 and ten classes it has the paper's layers and 525,569 parameters. Of
    the padding of a convolution, the odd row and column lie on the opposite side to TensorFlow's, which is
    the same network for mirrored images.

    Args:
        latent_dim: size of z.
        num_classes: classes of the data set.
        channels: channels of the images, 1 to 4.
        image_size: 16, 32, 64 or 128.
        width: channels of the last hidden feature map; each earlier one has twice as many.
        moments: what mean and variance of the norms are taken over. "class": the images of the same class in
            the batch, in training and in sampling, as with the paper's one-class batches. "batch": all
            images of the batch, as in the paper's joint training; for sampling, their running averages.
    """

    def __init__(
        self,
        latent_dim: Count,
        num_classes: Count,
        channels: Count,
        image_size: ImageSize,
        width: Count,
        moments: Literal["class", "batch"],
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in reversed(range(num_doublings(image_size, BASE)))]
        norm = {"class": ClassMomentsNorm, "batch": BatchMomentsNorm}[moments]
        self.project = nn.Linear(latent_dim, widths[0] * BASE * BASE)
        self.norms = nn.ModuleList(norm(width, num_classes) for width in widths)
        kinds = [*[nn.ConvTranspose2d] * (len(widths) - 1), ThinConvTranspose2d]
        self.convs = nn.ModuleList(
            kind(before, after, kernel_size=5, stride=2, padding=2, output_padding=1)
            for kind, (before, after) in zip(kinds, itertools.pairwise([*widths, channels]), strict=True)
        )
        self.apply(initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, channels, S, S) in [-1, 1]."""
        x = self.project(z).unflatten(1, (-1, BASE, BASE))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(torch.relu(norm(x, labels, z)))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """[5x5 convolution with stride 2, leaky ReLU] x n -> adversarial logit and class logits.

    At 32 pixels with width 32, one channel and ten classes it has the paper's 279,563 parameters.

    Args:
        num_classes: classes of the data set.
        channels: channels of the images.
        image_size: 16, 32, 64 or 128.
        width: channels of the first feature map; each later one has twice as many.
    """

    sample_independent = True

    def __init__(self, num_classes: Count, channels: Count, image_size: ImageSize, width: Count) -> None:
        super().__init__()
        self.trunk, self.num_features = trunk(channels, image_size, width, kernel_size=5, padding=2)
        self.adversarial = nn.Linear(self.num_features, 1)
        self.classify = ClassLinear(self.num_features, num_classes)
        self.apply(initialise)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, channels, S, S), labels unused -> adversarial (B,) and class logits (B, num_classes)."""
        features = self.trunk(images)
        return self.adversarial(features).squeeze(1), self.classify(features)


class ClassMomentsNorm(ConditionalNorm):
    """Batch norm over the images of the same class, then a scale and a shift per class; see ConditionalNorm.

    Args:
        channels: channels of the input.
        num_classes: rows of the scale and shift tables.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, "batch")


class BatchMomentsNorm(ClassMomentsNorm):
    """Batch norm over all images of the batch, then a scale and a shift per class.

    In eval mode it uses running averages: a batch for sampling holds one class, so its own moments would not
    be those of a mixed batch.

    Args:
        channels: channels of the input.
        num_classes: rows of the scale and shift tables.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes)
        self.normalise = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """Normalise x (B, C, H, W), with scale and shift of labels (B,)."""
        scale, shift = self.scale_and_shift(labels, z)
        return torch.addcmul(shift[:, :, None, None], self.normalise(x), scale[:, :, None, None])

    def plain(self) -> nn.Module:
        """Itself, which is written in PyTorch's own operations already."""
        return self


@torch.no_grad()
def initialise(layer: nn.Module) -> None:
    """Draw a layer's weights as in the code of WGAN-GP (Gulrajani et al. 2017), which the paper's builds on.

    The weights are uniform with zero biases: in convolutions with the variance 4 / (fan in + fan out), where
    the stride divides the fan on the side with fewer pixels (He et al. 2015, averaged over both directions);
    in linear layers with half of that (Glorot and Bengio 2010).

    Args:
        layer: others than convolutions and linear layers stay as they are.
    """
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        taps = layer.weight[0, 0].numel()
        coarse, fine = layer.weight.shape[:2]  # channels where there are fewer and more pixels
        bound = math.sqrt(12 / (taps * (coarse / math.prod(layer.stride) + fine)))
        nn.init.uniform_(layer.weight, -bound, bound)
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
    else:
        return
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
