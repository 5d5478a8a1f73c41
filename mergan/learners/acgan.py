"""The conditional GAN in training: manual-optimisation steps of generator and discriminator."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mergan.config.ranges import check_counts
from mergan.learners.backward import takes_part_in_backward
from mergan.learners.objectives import Judged, Objective
from mergan.learners.schedules import schedule
from mergan.networks.layers import inherit_classes
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Context, Drawn, RealBatch, Strategy
from mergan.system.errors import ConfigError, TrainingError


class ACGAN(pl.LightningModule):
    """An auxiliary classifier GAN (Odena et al. 2017, arXiv 1610.09585) that learns task after task.

    One training step is one generator step, then `objective.critic_steps` discriminator steps, of
    which the first reuses the generator's images. The batch brings the real images of all of them.
    Only the generator's optimizer counts, so `global_step` is the number of generator steps.

    Args:
        generator: see mergan.networks for the contract of the pair.
        discriminator: its counterpart.
        objective: the adversarial losses and their weights.
        strategy: what is done against forgetting.
        latent_dim: size of z.
        batch_size: images per discriminator step and generated images per generator step.
        lr: Adam's learning rate of the generator.
        lr_d: that of the discriminator; null: `lr`.
        lr_scale: factor on both.
        betas: Adam's decay rates.
        lr_schedule: constant, linear, cosine or cooldown, within each task.
        ema: decay of an exponential moving average of the generator's weights, or null. With it the
            averaged generator is what the snapshot, the evaluation and the sampling use; the
            strategies' losses act on the generator in training.
        reset_optimizers: forget Adam's moments when a task begins.
        renew_discriminator: put the discriminator back to its initial weights when a task begins.
        inherit_classes: start new classes from the mean of those learned before.
        seed: seed of every random draw of the training.
        log_every_n_steps: steps between two read-backs of the losses for the loggers.

    Raises:
        ConfigError: an option out of range.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        strategy: Strategy,
        latent_dim: int,
        batch_size: int,
        lr: float,
        lr_d: float | None = None,
        betas: Iterable[float] = (0.5, 0.999),
        lr_schedule: str = "constant",
        ema: float | None = None,
        reset_optimizers: bool = True,
        renew_discriminator: bool = False,
        inherit_classes: bool = True,
        seed: int = 0,
        log_every_n_steps: int = 25,
        lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_counts(
            "learner", latent_dim=latent_dim, batch_size=batch_size, log_every_n_steps=log_every_n_steps
        )
        for name, rate in {"lr": lr, "lr_d": lr_d}.items():
            if rate is not None and not 0 < rate < math.inf:
                raise ConfigError(f"learner.{name}={rate}: use a number above 0")
        if seed < 0:
            raise ConfigError(f"learner.seed={seed}: use a whole number of 0 or more")
        self.betas = tuple(betas)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"learner.betas={list(self.betas)}: use two numbers from 0 to below 1")
        if ema is not None and not 0 < ema < 1:
            raise ConfigError(f"learner.ema={ema}: use a number between 0 and 1, or null")
        if batch_size < 2 and objective.mode_seeking > 0:
            raise ConfigError(
                f"batch_size={batch_size}: objective.mode_seeking compares images, use 2 or more"
            )
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.objective = objective
        self.strategy = strategy
        # a submodule from the start: moved, saved and loaded with the rest (see GeneratorSnapshot)
        self.snapshot = copy.deepcopy(generator).eval().requires_grad_(False)
        self.ema = (
            AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
            if ema
            else None
        )
        if self.ema is not None:
            self.ema.requires_grad_(False)
        self.latent_dim = latent_dim
        self.batch_size = batch_size
        self.lr = lr * lr_scale
        self.lr_d = self.lr if lr_d is None else lr_d * lr_scale
        self.lr_schedule = schedule(lr_schedule)
        self.reset_optimizers = reset_optimizers
        self.inherit_classes = inherit_classes
        self.seed = seed
        self.log_every_n_steps = log_every_n_steps
        self.scenario: Scenario | None = None
        self.context: Context | None = None
        self.last_losses: dict[str, float] = {}
        self._rng: torch.Generator | None = None
        self._logging = False  # whether the losses of the present step are read back
        self._watched = True  # whether Lightning or a callback takes part in backward passes
        self._initial_discriminator = (
            {key: value.clone() for key, value in discriminator.state_dict().items()}
            if renew_discriminator
            else None
        )

    # ------------------------------------------------------------------ generating

    @property
    def sampler(self) -> nn.Module:
        """The generator that snapshot, evaluation and sampling use: the averaged one if there is one."""
        return self.generator if self.ema is None else self.ema.module

    @torch.no_grad()
    def generate(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1], made in eval mode."""
        sampler = self.sampler
        training = sampler.training
        sampler.eval()
        images = self.strategy.generate(sampler, z.to(self.device), labels.to(self.device)).float()
        sampler.train(training)
        return images

    def train(self, mode: bool = True) -> ACGAN:
        """Set the mode of the networks; the snapshot and the average stay in eval mode."""
        super().train(mode)
        self.snapshot.eval()
        if self.ema is not None:
            self.ema.eval()
        return self

    # ------------------------------------------------------------------ tasks and epochs

    def on_fit_start(self) -> None:
        self._watched = takes_part_in_backward(self.trainer)

    @property
    def task(self) -> Task:
        """The task of the current epoch."""
        assert self.scenario is not None, "attach a scenario before training"
        return self.scenario.task_at(self.current_epoch)

    def on_train_epoch_start(self) -> None:
        # everything random of this epoch depends on (seed, epoch, rank) alone, so that a resumed run
        # draws what the uninterrupted one would have drawn
        seed = (self.seed * 1_000_003 + self.current_epoch) * 1_009 + self.global_rank
        if self._rng is None or self._rng.device != self.device:
            self._rng = torch.Generator(self.device)
        self._rng.manual_seed(seed)
        torch.manual_seed(seed)  # dropout knows no generator of its own
        task = self.task
        self.context = Context(
            task=task,
            generator=self.generator,
            snapshot=self.snapshot,
            batch_size=self.batch_size,
            latent_dim=self.latent_dim,
            real=self.trainer.datamodule.real_of(task.classes),  # type: ignore[attr-defined]
            counts=self.trainer.datamodule.counts(task.classes),  # type: ignore[attr-defined]
            discriminator_steps=task.epochs
            * int(self.trainer.num_training_batches)
            * self.objective.critic_steps,
            rng=self._rng,
            device=self.device,
            seed=self.seed,
        )
        if self.current_epoch == task.first_epoch:
            self._start_task(task)
        self.strategy.begin_task(self.context)

    def _start_task(self, task: Task) -> None:
        if self.inherit_classes:
            inherit_classes(self.generator, task.new, task.before)
            if self.ema is not None:
                inherit_classes(self.ema, task.new, task.before)
        if self._initial_discriminator is not None:
            self.discriminator.load_state_dict(self._initial_discriminator)
        if self.reset_optimizers:
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()

    def end_task(self) -> None:
        """Conclude the current task: freeze the trained generator as the snapshot, tell the strategy."""
        assert self.context is not None
        self.snapshot.load_state_dict(self.sampler.state_dict())
        self.strategy.end_task(self.context)

    # ------------------------------------------------------------------ steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """One generator step and `critic_steps` discriminator steps.

        Args:
            batch: real images (N, C, S, S) in [-1, 1] and labels (N,) for all discriminator steps.
            batch_idx: position in the epoch.

        Raises:
            TrainingError: a loss or a gradient that is about to be logged is not finite. They are logged in
                the last step of every epoch, so that no checkpoint holds what comes of them.
        """
        context = self.context
        assert context is not None
        self._set_learning_rates(batch_idx)
        last_of_epoch = batch_idx + 1 == self.trainer.num_training_batches
        self._logging = (self.global_step + 1) % self.log_every_n_steps == 0 or last_of_epoch
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]  # there are always two
        images, labels = (tensor.tensor_split(self.objective.critic_steps) for tensor in batch)
        real = self.strategy.real_batch(images[0], labels[0], context)
        fake_labels, fakes, losses = self._generator_step(optimizer_g, real.weights.sum())
        for index in range(self.objective.critic_steps):
            if index > 0:
                real = self.strategy.real_batch(images[index], labels[index], context)
                fake_labels, fakes = self._fresh_fakes()
            # counted by G's steps, which the checkpoint keeps
            number = (self.global_step - 1) * self.objective.critic_steps + index
            penalise = number % self.objective.penalty_every == 0
            losses |= self._discriminator_step(optimizer_d.optimizer, real, fakes, fake_labels, penalise)
        if self._logging:
            self._log(losses)

    def _generator_step(self, optimizer: Any, total: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Update the generator; returns labels (B,), its images (B, C, S, S) without graph, and losses."""
        context = self.context
        assert context is not None
        self.discriminator.requires_grad_(False)
        labels, pairs = self._asked_classes()
        z = context.latent(self.batch_size)
        fakes = self.generator(z, labels)
        context.drawn = Drawn(z, labels, fakes)
        adversarial, class_logits = self.discriminator(fakes, labels)
        loss, losses = self.objective.generator_loss(
            adversarial, class_logits, labels, self.strategy.uses_classifier
        )
        penalty, terms = self.objective.diversity_loss(fakes, z, pairs)
        loss, losses = total * loss + penalty, losses | terms
        for name, term in self.strategy.generator_terms(context).items():
            losses[f"g/{name}"] = term
            loss = loss + term
        context.drawn = None  # lets go of the graph
        losses["g/loss"] = loss
        optimizer.zero_grad()
        self._backward(loss)
        if self._logging:
            losses["g/gradient"] = _gradient_norm(self.generator)
        optimizer.step()
        self.discriminator.requires_grad_(True)
        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        if self._learns_classes:
            losses["class_accuracy/fake"] = _accuracy(class_logits, labels)
        return labels, fakes.detach(), losses

    def _backward(self, loss: Tensor) -> None:
        """Lightning's backward pass, or the bare one where the two are the same."""
        if self._watched:
            self.manual_backward(loss)
        else:
            loss.backward()

    def _asked_classes(self) -> tuple[Tensor, int]:
        """Labels (B,) for the generator's step. Where the objective compares pictures of one class, the last
        B // 2 of them repeat the first, and that number is returned; otherwise 0.
        """
        assert self.context is not None
        classes = self.strategy.fake_classes(self.context.task)
        pairs = self.batch_size // 2 if self.objective.mode_seeking > 0 else 0
        labels = self.context.labels(classes, self.batch_size - pairs)
        return torch.cat([labels, labels[:pairs]]), pairs

    @property
    def _learns_classes(self) -> bool:
        """Whether the discriminator's classifier is trained, so that its accuracy means something."""
        return self.strategy.uses_classifier and self.objective.lambda_cls_d > 0

    @torch.no_grad()
    def _fresh_fakes(self) -> tuple[Tensor, Tensor]:
        """Labels (B,) and images (B, C, S, S) of the generator as it is."""
        assert self.context is not None
        labels = self.context.labels(self.strategy.fake_classes(self.context.task), self.batch_size)
        return labels, self.generator(self.context.latent(self.batch_size), labels)

    def _discriminator_step(
        self,
        optimizer: torch.optim.Optimizer,
        real: RealBatch,
        fakes: Tensor,
        fake_labels: Tensor,
        penalise: bool,
    ) -> dict[str, Tensor]:
        """Update the discriminator on real (and replayed) against generated images; returns the losses."""
        assert self.context is not None
        judged_real, judged_fake = self._judge(real, fakes, fake_labels)
        loss, losses = self.objective.discriminator_loss(
            judged_real, judged_fake, real.weights, self.strategy.uses_classifier
        )
        if penalise and real.penalised > 0:
            images, labels = real.images[: real.penalised], real.labels[: real.penalised]
            penalty, terms = self.objective.penalties(
                lambda points: self.discriminator(points, labels)[0],
                images,
                fakes[: real.penalised],
                self.context.rng,
            )
            loss, losses = loss + penalty, losses | terms
        losses["d/loss"] = loss
        optimizer.zero_grad()
        self._backward(loss)
        if self._logging:
            losses["d/gradient"] = _gradient_norm(self.discriminator)
        # the bare optimizer: Lightning would count its step, and global_step would run double
        optimizer.step()
        if self._learns_classes:
            losses["class_accuracy/real"] = _accuracy(judged_real.classes, real.labels)
        return losses

    def _judge(self, real: RealBatch, fakes: Tensor, fake_labels: Tensor) -> tuple[Judged, Judged]:
        """The discriminator's word on both, in one pass where no sample depends on the others."""

        def judge(images: Tensor, labels: Tensor) -> Judged:
            adversarial, classes = self.discriminator(images, labels)
            return Judged(adversarial, classes, labels)

        if not getattr(self.discriminator, "sample_independent", False):
            return judge(real.images, real.labels), judge(fakes, fake_labels)
        both = judge(torch.cat([real.images, fakes]), torch.cat([real.labels, fake_labels]))
        count = len(real.images)
        return Judged(*(part[:count] for part in both)), Judged(*(part[count:] for part in both))

    # ------------------------------------------------------------------ optimizers and logging

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the generator, Adam for the discriminator."""
        networks = ((self.generator, self.lr), (self.discriminator, self.lr_d))
        return [
            torch.optim.Adam(network.parameters(), lr=lr, betas=self.betas, fused=True)  # type: ignore[arg-type]
            for network, lr in networks
        ]

    def _set_learning_rates(self, batch_idx: int) -> None:
        task, batches = self.task, int(self.trainer.num_training_batches)
        done = (self.current_epoch - task.first_epoch) * batches + batch_idx
        factor = self.lr_schedule(done / (task.epochs * batches))
        for optimizer, lr in zip(self.trainer.optimizers, (self.lr, self.lr_d), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def _log(self, losses: dict[str, Tensor]) -> None:
        """Read the losses back, once for all of them, and hand them to the loggers."""
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        self.last_losses = dict(zip(losses, values, strict=True))
        for name, value in self.last_losses.items():
            if not value - value == 0:  # NaN and infinity alike
                raise TrainingError(
                    f"{name} is {value} in task {self.task.index}, epoch {self.current_epoch}, "
                    f"step {self.global_step}: try a lower lr, or recovery.attempts=3, which lowers it"
                )
        rates = {
            f"lr/{name}": optimizer.param_groups[0]["lr"]
            for name, optimizer in zip("gd", self.trainer.optimizers, strict=True)
        }
        for logger in self.loggers:
            logger.log_metrics(
                {**self.last_losses, **rates, "epoch": self.current_epoch}, step=self.global_step
            )


def _gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm of the gradients of all parameters together."""
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    return torch.stack(norms).norm()


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=1) == labels).float().mean()
