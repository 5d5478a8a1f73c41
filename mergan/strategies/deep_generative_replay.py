"""Deep generative replay: an unconditional generator and a solver (Shin et al. 2017, arXiv 1705.08690)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mergan.config.ranges import Count, NonNegative, Share
from mergan.data import normalise
from mergan.networks.solver import Solver
from mergan.scenarios.base import Task
from mergan.strategies.base import Strategy
from mergan.strategies.batches import TrainingBatch
from mergan.strategies.best_candidate import BestCandidate
from mergan.strategies.buffer import ReplayBuffer, snapshot_images
from mergan.strategies.context import Context
from mergan.system.errors import ConfigError

LABELLING_BATCH = 500


class DeepGenerativeReplay(Strategy):
    """An unconditional generator and a classifier, the solver; together the "scholar" of the paper.

    The generator learns images without their classes. The solver learns the classes. Both train on real
    images together with replays x' = G_{t-1}(z), which the previous solver S_{t-1} has labelled:

        generator, discriminator:  x ~ r p(x | task t) + (1 - r) p(x'),  no labels
        solver:  r E_{(x, y) ~ task t}[CE(S_t(x), y)] + (1 - r) E_{x'}[CE(S_t(x'), S_{t-1}(x'))]

    r is the share of the task's classes in the classes seen, which is 1/t with one-class tasks. S_{t-1}(x')
    is the class that the previous solver assigns to x'. If classes come back, replays that the solver
    assigns to one of the task's classes are left out, because real images of that class are available.
    Only the generator determines how often a past class is replayed, so classes may fade out. Conditional
    replay (joint_retrain) fixes that. An unconditional generator also draws images between the classes.
    Their labels are noise that grows with every generation. With `confidence` above 0, an addition to the
    paper, replays that the solver is less sure of are left out.

    The networks are the conditional ones and always get the same class (the first of the stream). So
    trunk and cost are those of the other strategies, and neither generator nor discriminator knows the
    classes. The objective's classifier terms are left out.

    Images of class c are drawn by rejection. The candidates are G(z'), with z' = z rotated by 0, 1, 2 ...
    places; each z' is N(0, I) if z is. The first candidate that the solver classifies as c with a
    probability of at least `confidence` is taken; after `tries` candidates the best one is. The image is
    a function of z, as with the other strategies.

    Args:
        buffer_per_class: replays per past class, generated when a task begins. null: the average number
            of real images per class of the task, but no more than the task can draw. If a number is
            given, r follows from the sizes of both sets instead.
        solver_width: channels of the solver's first layer.
        solver_steps: Adam steps of the solver at the end of each task, at most as many as the
            discriminator took in it. The solver keeps its weights; Adam's moments are reset.
        solver_batch: real images per step; the number of replays is the same.
        solver_lr: Adam's learning rate for the solver.
        tries: maximum number of candidates for an image, limited by the size of z.
        confidence: minimum probability that the solver assigns to the class of a replay, and to that of a
            candidate taken before the last try.

    Attributes:
        solver: see mergan.networks.solver. The training optimizers do not hold its weights.
        constant: the class that generator and discriminator always get.
    """

    uses_classifier = False
    uses_snapshot = True
    constant: Tensor

    def __init__(
        self,
        buffer_per_class: Count | None,
        solver_width: Count,
        solver_steps: Count,
        solver_batch: Count,
        solver_lr: NonNegative,
        tries: Count,
        confidence: Share,
    ) -> None:
        super().__init__()
        self.solver_width = solver_width
        self.solver_steps = solver_steps
        self.solver_batch = solver_batch
        self.solver_lr = solver_lr
        self.tries = tries
        self.confidence = confidence
        self.buffer = ReplayBuffer(buffer_per_class)

    # ------------------------------------------------------------------ state

    def build(self, generator: nn.Module, num_classes: int, channels: int, image_size: int) -> None:
        self.solver = Solver(num_classes, channels, image_size, self.solver_width).requires_grad_(False)
        self.num_classes = num_classes
        self.register_buffer("constant", torch.zeros((), dtype=torch.int64))

    def check_state(self) -> None:
        if not 0 <= int(self.constant) < self.num_classes:
            raise ConfigError(f"its constant class is {int(self.constant)}, of {self.num_classes}")

    def inherit(self, state: Mapping[str, Tensor], rows: Tensor) -> None:
        """Take over the solver of the earlier run."""
        if "constant" not in state:
            raise ConfigError(
                "no solver in it, and its generator needs to be told the class; "
                "use a checkpoint of strategy=deep_generative_replay"
            )
        for name, mine in self.solver.state_dict().items():
            old, where = state[f"solver.{name}"], rows if name.startswith("head.") else ...
            if old.shape != mine[where].shape:
                raise ConfigError(
                    f"strategy.solver_width={self.solver_width} is not that of its solver; use the same"
                )
            mine[where] = old
        self.constant.copy_(rows[state["constant"]])

    # ------------------------------------------------------------------ generator and discriminator

    def real_per_step(self, task: Task, batch_size: int, counts: Mapping[int, int]) -> float:
        """`batch_size` times r."""
        return self.buffer.real_per_step(task, batch_size, counts)

    def begin_task(self, context: Context) -> None:
        """Generate the replays, determined by (snapshot, seed, task)."""
        self.constant.fill_(context.task.seen[0])
        self.buffer.refill(context, lambda: self._replays(context))

    def _replays(self, context: Context) -> tuple[Tensor, Tensor]:
        task = context.task
        labels = self.constant.repeat(self.buffer.size(context) * len(task.before))
        images = snapshot_images(context, labels)
        if task.returning:
            guessed = self._judged(images).argmax(dim=1)
            images = _kept(images, ~torch.isin(guessed, labels.new_tensor(task.classes)))
        if self.confidence > 0:
            images = _kept(images, self._judged(images).amax(dim=1) >= self.confidence)
        return images, labels[: len(images)]

    def training_batch(self, images: Tensor, labels: Tensor, context: Context) -> TrainingBatch:
        """Real images and replays, all labelled with the constant class."""
        return self.buffer.fill_up(images, self.constant.expand(len(labels)), context)

    def asked_classes(self, task: Task) -> tuple[int, ...]:
        """The constant class."""
        return (task.seen[0],)

    # ------------------------------------------------------------------ solver

    def end_task(self, context: Context) -> None:
        """Train the solver, deterministically given (its weights, the data, seed, task)."""
        steps = min(self.solver_steps, context.num_batches)
        real_share = self.buffer.real_per_step(context.task, 1, context.counts)
        replay_labels = self._judged(self.buffer.images).argmax(dim=1) if context.task.past else None
        rng, shape = context.task_rng(), (steps, self.solver_batch)
        picks = torch.randint(len(context.real), shape, generator=rng, device=context.device).cpu().numpy()
        self.solver.requires_grad_(True)
        optimizer = torch.optim.Adam(self.solver.parameters(), lr=self.solver_lr, fused=True)
        for batch in context.real.batches(picks):
            images, labels = (torch.from_numpy(part).to(context.device, non_blocking=True) for part in batch)
            loss = real_share * self._cross_entropy(images, labels)
            if replay_labels is not None:
                drawn = torch.randint(len(replay_labels), shape[1:], generator=rng, device=context.device)
                replays = self._cross_entropy(self.buffer.images[drawn], replay_labels[drawn])
                loss = loss + (1 - real_share) * replays
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.solver.requires_grad_(False)
        self.solver.zero_grad()

    def _cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the solver on uint8 images (B, C, S, S)."""
        return nn.functional.cross_entropy(self.solver(normalise(images)), labels)

    @torch.no_grad()
    def _judged(self, images: Tensor) -> Tensor:
        """The solver's class probabilities (N, num_classes) for uint8 images (N, C, S, S)."""
        parts = images.split(LABELLING_BATCH)
        return torch.cat([self.solver(normalise(part)).softmax(dim=1) for part in parts])

    # ------------------------------------------------------------------ sampling

    @torch.no_grad()
    def generate(self, generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
        """Images that the solver assigns to the requested classes, with up to `tries` candidates each."""
        waiting = torch.arange(len(z), device=z.device)
        best = torch.full((len(z),), -1.0, device=z.device)
        images: Tensor | None = None
        for places in range(min(self.tries, z.shape[1])):
            rotated = z[waiting].roll(places, dims=1)
            candidates = generator(rotated, self.constant.expand(len(waiting))).float()
            probabilities = self.solver(candidates).softmax(dim=1)
            wanted = labels[waiting]
            probability = probabilities.gather(1, wanted[:, None]).squeeze(1)
            right = probabilities.argmax(dim=1) == wanted
            value = probability + right  # a candidate of the right class beats all others
            better = value > best[waiting]
            images = torch.empty_like(candidates) if images is None else images
            images[waiting[better]] = candidates[better]
            best[waiting[better]] = value[better]
            waiting = waiting[~(right & (probability >= self.confidence))]
            if not len(waiting):
                break
        assert images is not None
        return images

    def plain(self) -> Strategy:
        """The same sampling as one computation without branches (mergan.networks.plain)."""
        return BestCandidate(self.solver, self.constant, self.tries, self.confidence)


def _kept(images: Tensor, wanted: Tensor) -> Tensor:
    """The images (N, C, S, S) that are `wanted`, bool (N,).

    If none is wanted, all are returned, because a buffer must not be empty.
    """
    return images[wanted] if wanted.any() else images
