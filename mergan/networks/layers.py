"""Building blocks of the generator/discriminator pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from mergan.system import whole_batch

Modulation: TypeAlias = Literal["class", "class_and_z"]  # what scale and shift of a norm depend on


def num_doublings(image_size: int, start: int) -> int:
    """How many times `start` doubles to reach `image_size`.

    Raises:
        ValueError: it never does.
    """
    doublings = (image_size // start).bit_length() - 1
    if start << max(doublings, 0) != image_size:
        raise ValueError(f"{start} pixels never double to {image_size}")
    return doublings


class ClassTable(nn.Embedding):
    """An embedding with one row per class.

    The type marks parameters that belong to single classes. So new classes can be initialised from learned
    ones (`inherit_classes`), and rows can be carried over by class (`mergan.run.transfer`).
    """


class ClassLinear(nn.Linear):
    """A linear layer with one output per class; as in ClassTable, its rows belong to single classes."""


class Projection(nn.Linear):
    """The first layer of a generator: a linear map of z, with a part of each class's own.

        y = W z + b + V_c z[:private_z] + v_c

    All classes share W and b, so learning a new class disturbs earlier ones. Only images of class c change
    V_c and v_c, which are zero at the start. The components of z are independent and alike, so it does not
    matter which of them V_c sees.

    Args:
        latent_dim: size of z.
        outputs: size of y.
        num_classes: number of classes.
        private_z: how many components of z V_c sees, at most all of them; 0: neither V nor v.
    """

    def __init__(self, latent_dim: int, outputs: int, num_classes: int, private_z: int) -> None:
        super().__init__(latent_dim, outputs)
        self.private_z = min(private_z, latent_dim)
        self.private: ClassTable | None = None
        if private_z > 0:
            # a row holds v_c, then the columns of V_c
            self.private = ClassTable(num_classes, (1 + self.private_z) * outputs)
            nn.init.zeros_(self.private.weight)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """z (B, latent_dim), labels (B,) -> y (B, outputs)."""
        y = super().forward(z)
        if self.private is None:
            return y
        rows = self.private(labels).unflatten(1, (1 + self.private_z, -1))
        factors = nn.functional.pad(z[:, : self.private_z], (1, 0), value=1.0)
        return torch.baddbmm(y[:, None], factors[:, None], rows).squeeze(1)


def inherit_classes(module: nn.Module, new: Sequence[int], before: Sequence[int]) -> None:
    """In every ClassTable, set the rows of the `new` classes to the mean of those learned `before`."""
    if not new or not before:
        return
    for table in module.modules():
        if isinstance(table, ClassTable):
            with torch.no_grad():
                table.weight[list(new)] = table.weight[list(before)].mean(dim=0)


def shared_weights(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to no single class: all but those of ClassTable and ClassLinear."""
    tables = [table for table in module.modules() if isinstance(table, ClassTable | ClassLinear)]
    private = {id(weight) for table in tables for weight in table.parameters()}
    return [weight for weight in module.parameters() if id(weight) not in private]


class ConditionalNorm(nn.Module):
    """Normalisation, then a scale and a shift per class (Dumoulin et al. 2017, arXiv 1610.07629), or by class
    and z.

    With z, scale and shift are the sum of the rows of the class and a linear map of z (self-modulation, Chen
    et al. 2019, arXiv 1810.01365). The map is zero at the start, so it then changes nothing. Normalisation
    takes the mean colour of an image away; with z, every layer can put it back.

    Args:
        channels: channels of the input.
        num_classes: rows of the scale and shift tables.
        kind: "group" normalises every sample independently, in groups of channels; the result depends
            neither on the other samples nor on train/eval mode. "batch" uses the statistics of the
            samples of the same class in the batch, in train and eval mode alike. This is equivalent to
            the one-class batches in the code of Memory Replay GANs.
        by_z: size of z; None leaves z out.
        groups: number of groups for "group"; fewer if it does not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        kind: Literal["group", "batch"],
        by_z: int | None = None,
        groups: int = 8,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.groups = math.gcd(groups, channels)
        self.scale = ClassTable(num_classes, channels)
        self.shift = ClassTable(num_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)
        self.by_z = None
        if by_z is not None:
            self.by_z = nn.Linear(by_z, 2 * channels, bias=False)
            nn.init.zeros_(self.by_z.weight)

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """Normalise x (B, C, H, W), with scale and shift of labels (B,) and z (B, latent_dim)."""
        scale, shift = self.scale_and_shift(labels, z)
        if self.kind == "group":
            # treat the batch as one sample of B * C channels: one kernel then normalises, scales and shifts
            flat = x.reshape(1, -1, *x.shape[2:])
            normed = nn.functional.group_norm(flat, len(x) * self.groups, scale.flatten(), shift.flatten())
            return normed.view(x.shape)
        return torch.addcmul(shift[:, :, None, None], class_batch_norm(x, labels), scale[:, :, None, None])

    def scale_and_shift(self, labels: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift (B, C) of labels (B,) and z (B, latent_dim)."""
        scale, shift = self.scale(labels), self.shift(labels)
        if self.by_z is not None:
            scale_by_z, shift_by_z = self.by_z(z).chunk(2, dim=1)
            scale, shift = scale + scale_by_z, shift + shift_by_z
        return scale, shift

    def plain(self) -> nn.Module:
        """The same in two steps, without folding the batch into the channels (mergan.networks.plain)."""
        return _NormThenModulate(self)


class _NormThenModulate(nn.Module):
    """A ConditionalNorm in two steps: normalisation, then scale and shift.

    Args:
        norm: the norm, whose parameters it uses.
    """

    def __init__(self, norm: ConditionalNorm) -> None:
        super().__init__()
        self.modulation, self.kind, self.groups = norm, norm.kind, norm.groups

    def forward(self, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """As ConditionalNorm."""
        scale, shift = self.modulation.scale_and_shift(labels, z)
        grouped = self.kind == "group"
        normed = nn.functional.group_norm(x, self.groups) if grouped else _averaged_by_class(x, labels)
        return torch.addcmul(shift[:, :, None, None], normed, scale[:, :, None, None])


def _averaged_by_class(x: Tensor, labels: Tensor, eps: float = 1e-5) -> Tensor:
    """`class_batch_norm` in one process, with the means of the classes as a matrix product."""
    same = (labels[:, None] == labels).to(x.dtype)
    share = same / same.sum(dim=1, keepdim=True)
    centred = x - (share @ x.mean(dim=(2, 3)))[:, :, None, None]
    variance = share @ centred.square().mean(dim=(2, 3))
    return centred * torch.rsqrt(variance + eps)[:, :, None, None]


def class_batch_norm(x: Tensor, labels: Tensor, eps: float = 1e-5) -> Tensor:
    """Batch normalisation of x (B, C, H, W) over the samples with the same label, without an affine part.

    This equals splitting the batch by class and normalising each part by its own batch statistics. In a step
    of several processes, the statistics are those of the whole batch.
    """
    # The group of a sample is the place of the first sample of its class. `unique` would number the groups
    # without gaps, but the CPU would have to wait for their number.
    everyone = whole_batch.gathered(labels)
    same = everyone[:, None] == everyone
    group = whole_batch.own(same.int().argmax(dim=1))
    count = same.sum(dim=1, keepdim=True).to(x.dtype)  # of the class; only the rows of first samples matter

    def group_mean(values: Tensor) -> Tensor:
        sums = values.new_zeros(len(everyone), values.shape[1]).index_add(0, group, values)
        return (whole_batch.summed(sums) / count)[group][:, :, None, None]

    centred = x - group_mean(x.mean(dim=(2, 3)))
    variance = group_mean(centred.square().mean(dim=(2, 3)))
    return centred * torch.rsqrt(variance + eps)
