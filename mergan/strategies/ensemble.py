"""One generator per task: nothing is forgotten, and what is kept grows with the stream."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mergan.strategies.base import Strategy, size
from mergan.strategies.context import Context
from mergan.system.errors import ConfigError


class Ensemble(Strategy):
    """Keeps the generator of every task, and draws each class from the one that learned it last.

        G(z, c) = G_{t(c)}(z, c),   t(c) = the last task with class c that has ended

    The images of a class stay the same to the bit until the class comes back. This is the reference for what
    memory can buy: a model per task, as in Rusu et al. 2016 (arXiv 1606.04671) without the connections
    between them. Training is fine-tuning: each generator starts from the one before it.

    A generator whose classes have all come back in later tasks is dropped. So at most as many are kept as
    there are classes, and this many are set aside from the start, since a checkpoint has a fixed shape.

    Attributes:
        members: the generators, one per class at most.
        owner: for each class the number of its generator, int64 (num_classes,); -1 for none.
    """

    owner: Tensor

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        self.num_classes = num_classes
        self.members = nn.ModuleList(
            copy.deepcopy(generator).eval().requires_grad_(False) for _ in range(num_classes)
        )
        self.register_buffer("owner", torch.full((num_classes,), -1))

    def train(self, mode: bool = True) -> Ensemble:
        """Set the mode; the kept generators stay in eval mode."""
        super().train(mode)
        if hasattr(self, "members"):
            self.members.eval()
        return self

    def check_state(self) -> None:
        if not bool(((self.owner >= -1) & (self.owner < self.num_classes)).all()):
            raise ConfigError("the generators of its classes are none of an ensemble")

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over the generators of an ensemble; those of other runs are kept when the stream begins."""
        if "owner" not in state:
            return
        if rows.tolist() != list(range(self.num_classes)):
            raise ConfigError("its generators are those of other classes; use the data set of that run")
        self.load_state_dict(dict(state))

    def begin_task(self, context: Context) -> None:
        """Keep the generator of the classes known from `init_from`; otherwise do nothing."""
        missing = [label for label in context.task.before if int(self.owner[label]) < 0]
        if missing:
            self._keep(context.snapshot, missing)

    def end_task(self, context: Context) -> None:
        """Keep the generator that has just learned the task's classes."""
        self._keep(context.snapshot, context.task.classes)

    def _keep(self, generator: nn.Module, classes: tuple[int, ...] | list[int]) -> None:
        """Give `classes` a generator of their own, in a place that no other class needs."""
        self.owner[list(classes)] = -1
        place = min(set(range(self.num_classes)) - set(self.owner.tolist()))
        self.members[place].load_state_dict(generator.state_dict())
        self.owner[list(classes)] = place

    def bytes_kept(self, generator: nn.Module) -> int:
        """Bytes of the generators in use."""
        return len(self.used) * size(generator)

    @property
    def used(self) -> list[int]:
        """Numbers of the generators that draw a class, ascending."""
        return sorted(set(self.owner.tolist()) - {-1})

    @torch.no_grad()
    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """Images of each class from its own generator; a class without one is drawn by `generator`."""
        owners, images = self.owner[labels], None
        for place in owners.unique().tolist():
            mine = owners == place
            part = (generator if place < 0 else self.members[place])(z[mine], labels[mine]).float()
            images = part.new_empty(len(z), *part.shape[1:]) if images is None else images
            images[mine] = part
        assert images is not None
        return images

    def plain(self) -> Strategy:
        """The same without branches (mergan.networks.plain)."""
        return _AllMembers(self)


class _AllMembers(Strategy):
    """An Ensemble for tracing: every kept generator draws the whole batch, and each image is chosen.

    Args:
        ensemble: whose generators are used.
    """

    owner: Tensor

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.places = ensemble.used
        self.members = nn.ModuleList(ensemble.members[place] for place in self.places)
        self.register_buffer("owner", ensemble.owner)

    @torch.no_grad()
    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """As Ensemble."""
        images = generator(z, labels).float()
        owners = self.owner[labels][:, None, None, None]
        for place, member in zip(self.places, self.members, strict=True):
            images = torch.where(owners == place, member(z, labels).float(), images)
        return images
