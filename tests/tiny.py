"""Configurations, runs and parts that are small enough for tests."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mergan import config
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.config.composition import node_of
from mergan.config.instantiate import instantiate, part
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.data.image_set import ImageSet
from mergan.learners import ContinualLearner, TaskCallback
from mergan.networks import dcgan
from mergan.output.plots import style
from mergan.run.experiment import build_experiment
from mergan.run.recipe import RULES
from mergan.scenarios.base import Scenario, StreamKind, Task
from mergan.strategies import Context, Drawn, Strategy
from torture.compare import equal, event_steps, untimed

__all__ = ["equal", "event_steps", "untimed"]  # of the torture, for the tests

ROOT = Path(__file__).resolve().parent.parent
STRATEGIES = sorted(path.stem for path in (ROOT / "conf" / "strategy").glob("*.yaml"))

# Four classes of 16x16 generated images in two tasks of two epochs, networks of a few thousand weights,
# and a plain recipe that does not follow the defaults when these get better.
SETTINGS = [
    "data=synthetic",
    "data.num_classes=4",
    "data.image_size=16",
    "data.source.train_per_class=30",
    "data.source.test_per_class=10",
    "scenario.classes_per_task=2",
    "epochs=2",
    "steps_per_epoch=2",
    "batch_size=8",
    "embedding_dim=8",
    "lr=5e-4",
    "learner.betas=[0.5,0.999]",
    "learner.lr_schedule=constant",
    "learner.ema=null",
    "objective.lambda_cls_g=1.0",
    "objective.lambda_cls_d=1.0",
    "objective.mode_seeking=0.0",
    "objective.r1=0.0",
    "objective.penalty_every=1",
    "objective.critic_steps=1",
    "network.generator.width=4",
    "network.discriminator.width=4",
    "evaluation.samples_per_class=4",
    "evaluation.k=2",
    "evaluation.reverse_per_class=4",
    "evaluation.reverse_steps=2",
    "evaluation.classifier_steps=2",
    "learner.log_every_n_steps=1",
    "callbacks.samples.columns=2",
    "callbacks.heat_maps=null",  # see HEAT_MAPS
    "trainer.accelerator=cpu",
]

# a quarter of the time of such a run
HEAT_MAPS = "callbacks.heat_maps={_target_:mergan.callbacks.heat_maps.HeatMaps}"
EVENTS = "logger.tensorboard={_target_:mergan.output.loggers.EventLog}"  # compose leaves them out

MEASURES = [part for part in SETTINGS if part.startswith("evaluation.")]


def compose(cache_dir: Path, *overrides: str) -> DictConfig:
    """The tiny configuration with further overrides, checked like the one of a real run.

    No event files without `EVENTS` and no heat maps without `HEAT_MAPS`, to save time.
    """
    cfg = config.compose(*SETTINGS, "logger.tensorboard=null", f"cache_dir={cache_dir}", *overrides)
    config.check(cfg)
    return config.apply_caps(cfg)


@dataclass
class Run:
    """The parts of a run, ready to be watched and fitted; `module` is the learner."""

    module: Any
    data: ClassIncrementalDataModule
    scenario: Scenario
    evaluation: ContinualEvaluation
    trainer: pl.Trainer
    folder: Path

    def fit(self, *watchers: pl.Callback) -> Run:
        """Train the whole stream; the watchers are called before the callbacks of the run."""
        self.trainer.callbacks[:0] = watchers  # type: ignore[attr-defined]
        self.trainer.fit(self.module, datamodule=self.data)
        return self


def build(cfg: DictConfig, folder: Path) -> Run:
    """Build a run, without fitting it."""
    run = build_experiment(cfg, folder)
    return Run(run.learner, run.data, run.scenario, run.evaluation, run.trainer, folder)


def stream_kind(name: str, **changes: Any) -> StreamKind:
    """A kind of stream as conf/ describes it, with changes."""
    node = node_of("scenario", f"scenario={name}")
    node.pop("joined")
    node.update(changes)
    kind: StreamKind = instantiate(node, "scenario")
    return kind


def tasks(*classes: list[int]) -> tuple[Task, ...]:
    """The tasks of a stream, one epoch each."""
    return Scenario.from_classes(classes, epochs=1).tasks


def strategy_of(name: str, /, **arguments: Any) -> Any:
    """A strategy of conf/strategy/, with some arguments of its own."""
    return part("strategy", f"strategy={name}", **arguments)


class GreyImages:
    """What the rules of mergan.run.recipe ask, answered for grey digits."""

    channels, image_size, images_per_class, steps_per_epoch, num_tasks = 1, 32, 400.0, 100, 10


def chosen(key: str, *words: str) -> dict[str, Any]:
    """The arguments of the part at a key that are null in conf/, as they are chosen for grey images."""
    node = node_of(key, *words)
    rules = {name: RULES.get(f"{key}.{name}") for name in node if node[name] is None}
    return {name: rule(GreyImages()) for name, rule in rules.items() if rule is not None}


def objective_of(name: str, /, **arguments: Any) -> Any:
    """An objective of conf/objective/, likewise; for grey images, where they decide a setting."""
    return part("objective", f"objective={name}", **chosen("objective", f"objective={name}") | arguments)


def metric_of(name: str, /, **arguments: Any) -> Any:
    """A metric of conf/evaluation/default.yaml, likewise."""
    return part(f"evaluation.metrics.{name}", **arguments)


def classifier_of(
    name: str, channels: int, image_size: int, num_classes: int, **arguments: Any
) -> Callable[[], Any]:
    """Makes untrained classifiers of conf/evaluation/default.yaml for images of that shape."""
    shape = {"channels": channels, "image_size": image_size, "num_classes": num_classes}
    return lambda: part(f"evaluation.classifiers.{name}", **shape, **arguments)


def folder_of(root: Path, /, **arguments: Any) -> Any:
    """The pictures in a folder, in colour by default, with the settings of conf/data/image_folder.yaml."""
    return part("data.source", "data=image_folder", root=str(root), **{"channels": 3} | arguments)


def context(task: Task, **changes: Any) -> Context:
    """A context with small networks, whose snapshot differs from the generator."""
    torch.manual_seed(0)
    generator, snapshot = (
        dcgan.Generator(8, 4, 1, 16, width=4, norm="group", modulation="class", private_z=0) for _ in range(2)
    )
    snapshot.eval().requires_grad_(False)
    settings: dict[str, Any] = {
        "generator": generator,
        "snapshot": snapshot,
        "batch_size": 8,
        "latent_dim": 8,
        "real": real_images(task),
        "counts": dict.fromkeys(task.classes, 30),
        "num_batches": 100,
        "rng": torch.Generator().manual_seed(5),
        "device": torch.device("cpu"),
        "seed": 0,
    }
    return Context(task, **settings | changes)


NOTHING = Drawn(torch.empty(0), torch.empty(0), torch.empty(0))  # for terms that do not look at the batch


def real_images(task: Task) -> ImageSet:
    """Thirty images of each class of the task, every one different."""
    labels = np.repeat(np.array(task.classes), 30)
    pixels = np.random.default_rng(task.index).integers(0, 256, (len(labels), 1, 16, 16), dtype=np.uint8)
    return ImageSet(pixels, labels)


class StopAt(pl.Callback):
    """Stops a run as Ctrl-C would, after one step of an epoch; named in configurations."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


class KillAfterPictures(TaskCallback):
    """Kills the process at a task's end, when all has been logged but no checkpoint has been written.

    Args:
        task: number of the task, from 0.
    """

    def __init__(self, task: int) -> None:
        self.task = task

    def on_task_end(self, trainer: pl.Trainer, learner: ContinualLearner) -> None:
        if learner.task.index == self.task:
            for logger in trainer.loggers:
                logger.save()
            os.kill(os.getpid(), signal.SIGKILL)


class KillParentAt(pl.Callback):
    """Kills the process that has started this one, after a step of a run, once; named in configurations.

    Args:
        folder: the run folder.
        run: name of the run folder in which it strikes.
        epoch: when.
        marker: a file that says that it has struck.
    """

    def __init__(self, folder: Path, run: str, epoch: int, marker: str) -> None:
        self.due = folder.name == run and not Path(marker).exists()
        self.epoch, self.marker = epoch, Path(marker)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.due and trainer.current_epoch == self.epoch:
            self.marker.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)  # the end of the parent ends this process


class Painter(nn.Module):
    """A generator that paints the label into every pixel, whatever it is trained to do."""

    def __init__(self, latent_dim: int, num_classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shape = (channels, image_size, image_size)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        shade = (2 * labels + 1) / self.num_classes - 1 + 0 * self.weight
        return shade[:, None, None, None].expand(-1, *self.shape)


def painted_labels(images: Tensor, num_classes: int) -> Tensor:
    """The labels (B,) that the Painter put into images (B, C, S, S); -1 where it is not its picture."""
    flat = images.flatten(1)
    labels = ((flat.mean(dim=1) + 1) * num_classes / 2 - 0.5).round().long()
    # a replay may have been kept as bytes
    exact = (flat - ((2 * labels + 1) / num_classes - 1)[:, None]).abs().amax(dim=1) < 1 / 127
    return torch.where(exact, labels, -1)


# without the arguments of dcgan's; Hydra deletes no null
BARE_GENERATOR = [
    "network.generator.modulation=class",
    "network.generator.private_z=0",
    *(f"~network.generator.{key}" for key in ("width", "norm", "modulation", "private_z")),
]
PAINTER = ["network.generator._target_=tiny.Painter", *BARE_GENERATOR]


class PoisonedFinetune(Strategy):
    """Fine-tuning whose generator loss becomes NaN in the second task."""

    def generator_terms(self, context: Context, drawn: Drawn) -> dict[str, Tensor]:
        value = float("nan") if context.task.index == 1 else 0.0
        return {"poison": torch.tensor(value, device=context.device)}


def weights(network: nn.Module) -> list[Tensor]:
    """Copies of the parameters."""
    return [parameter.detach().clone() for parameter in network.parameters()]


def state(network: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers."""
    return {key: value.clone() for key, value in network.state_dict().items()}


def csv_rows(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    """The rows of a run's CSV file, empty cells left out."""
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(file)]


def sweep_table(path: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv or summary.csv, without the columns that hold times."""
    timed = ("seconds", "images_per_second")
    with path.open(encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if not any(part in key for part in timed)}
            for row in csv.DictReader(file)
        ]


def frame(picture: np.ndarray) -> tuple[int, int]:
    """Top and left edge of the first frame around images in a grid; letters have no line of its colour."""
    framed = (picture == style.FRAME).all(axis=2)
    top = int(np.flatnonzero(framed.sum(axis=1) > 40)[0])
    return top, int(np.flatnonzero(framed[top])[0])
