"""Pixel arithmetic: converts bytes to the range of the networks and back; fits size and channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Weights of red, green and blue in perceived brightness (ITU-R BT.601, as in PIL).
LUMA = (0.299, 0.587, 0.114)


def normalise(images: Tensor) -> Tensor:
    """Convert bytes to the input range of the networks.

    Args:
        images: uint8, any shape, values 0 to 255.

    Returns:
        float32 of the same shape and on the same device, values -1 to 1.
    """
    return images.to(torch.float32).div(127.5).sub_(1.0)


def denormalise(images: Tensor) -> Tensor:
    """Convert network output to bytes; exactly undoes `normalise`.

    Args:
        images: floating point, any shape; values outside -1 to 1 are clamped.

    Returns:
        uint8 of the same shape and on the same device, values 0 to 255.
    """
    # Always in float32: half precision cannot distinguish neighbouring bytes.
    return images.to(torch.float32).add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def fit(images: np.ndarray, channels: int, size: int) -> np.ndarray:
    """Convert a stack of images to a number of channels and a square size.

    Grey images are repeated over the channels; colour images are reduced to their brightness. Images that
    are not square are cropped to the centre square. Scaling is bilinear with antialiasing.

    Args:
        images: uint8 (n, c, h, w) with c 1 or 3.
        channels: 1 or 3.
        size: side of the result in pixels.

    Returns:
        uint8 (n, channels, size, size); `images` itself if nothing had to be done.
    """
    _, given, height, width = images.shape
    if given == channels and height == width == size:
        return images
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels = torch.from_numpy(images[:, :, top : top + side, left : left + side].astype(np.float32))
    if given > channels:
        pixels = (pixels * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    if side != size:
        pixels = F.interpolate(
            pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    fitted = pixels.round_().clamp_(0, 255).to(torch.uint8)
    return fitted.expand(-1, channels, -1, -1).numpy()
