"""The main flow: build, fit, evaluate, write the results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from mergan import config
from mergan.callbacks.counted_costs import CountedCosts
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.checkpoints import file as checkpoint
from mergan.checkpoints.fitting import for_lightning
from mergan.config import TrainConfig
from mergan.config.instantiate import instantiate
from mergan.evaluation import absences
from mergan.output import places
from mergan.output.folder import RunFolder
from mergan.output.handing import hand_final
from mergan.run import automatic, build, remarks, replays, resources
from mergan.run.evaluator import build_evaluator
from mergan.run.provenance import Session
from mergan.run.resume import Continuation
from mergan.run.start import find_start
from mergan.strategies import Strategy
from mergan.system import cpu, cuda, files, interrupts, processes
from mergan.system.errors import LostProcessError, StorageError, TrainingError
from mergan.system.files import write_text
from mergan.system.text import shortened
from mergan.system.version import VERSION

log = logging.getLogger(__name__)

LONGEST_STREAM = 4000  # characters of the listed tasks


def run(cfg: DictConfig, folder: Path) -> dict[str, float | str]:
    """Run `train` while this process holds the lock of the folder."""
    try:
        with RunFolder(folder).locked():
            return train(cfg, folder)
    finally:
        places.remove_if_empty(folder)


def train(cfg: DictConfig, folder: Path, going_on: Continuation | None = None) -> dict[str, float | str]:
    """Train the stream of tasks that the configuration describes, and evaluate the result.

    Args:
        cfg: a configuration that `mergan.config.check` has passed. `ckpt_path` resumes the run that it
            belongs to, `init_from` starts from trained networks.
        folder: the run folder, locked; docs/ARCHITECTURE.md says what is written there.
        going_on: what `mergan.run.resume.restore` found out about `ckpt_path`; None reads the file as it is.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        MerganError: something that the user can fix.
    """
    tune(cfg)
    with processes.in_turn():
        run = build_experiment(cfg, folder, going_on)
    with _how_to_go_on(folder):
        while True:
            try:
                return run.train()
            except TrainingError as error:
                run = _slower(run, error)


def tune(cfg: DictConfig) -> None:
    """Set up this process for training on the device of a configuration.

    The user's `trainer.deterministic`, if it is set, is obeyed by Lightning.
    """
    cpu.tune()
    if resources.on_gpus(cfg.trainer) and cfg.trainer.get("deterministic") is None:
        cuda.reproduce()


def build_experiment(cfg: DictConfig, folder: Path, going_on: Continuation | None = None) -> Experiment:
    """Build a run from the configuration that Hydra composed; see `train`. The run holds it as an object."""
    if going_on is None and cfg.ckpt_path is not None:
        going_on = Continuation(cfg, config.links(cfg), checkpoint.read(Path(cfg.ckpt_path)))
    links = config.links(cfg) if going_on is None else going_on.links
    return Experiment(config.typed(automatic.filled(cfg)), links, RunFolder(folder), going_on)


class Experiment:
    """A run, ready to train once it is built. Errors that the user can fix are raised while it is built.

    Args:
        settings: the configuration.
        links: how it was composed, see mergan.config.links.
        folder: the run folder.
        going_on: what is known about the checkpoint to resume from; None for a new run.
    """

    def __init__(
        self,
        settings: TrainConfig,
        links: dict[str, str],
        folder: RunFolder,
        going_on: Continuation | None = None,
    ) -> None:
        self.links, self.folder = links, folder
        pl.seed_everything(settings.seed, verbose=False)
        strategy: Strategy = instantiate(settings.strategy, "strategy")
        self.pool = build.build_pool(settings, strategy)
        self.settings = settings
        self.start = find_start(settings, self.pool, going_on)
        self.scenario = config.scenario(settings, self.pool.class_names, self.start.known)
        build.say_counts(settings, self.pool, self.scenario)
        self.learner = build.build_learner(settings, self.pool, strategy, self.scenario)
        self.start.load(self.learner)
        self.start.check(self.scenario)
        self.data = build.build_data(settings, self.pool, self.learner)
        replays.check(settings, self.data, self.learner)
        self.evaluator = build_evaluator(settings, self.pool, resources.device(settings.trainer))
        if settings.caps is None:
            absences.check(self.evaluator, self.scenario.classes, self.scenario.brought)
        self.evaluation = ContinualEvaluation(self.evaluator, remarks.trusted(settings))
        self.costs = CountedCosts()
        checkpoints = checkpoint.AtomicCheckpointIO()
        self.trainer = build.build_trainer(
            settings, folder, self.scenario, self.evaluation, self.costs, checkpoints, links, self.start.step
        )
        if going_on is not None and settings.ckpt_path is not None:
            content, path = going_on.content, Path(settings.ckpt_path)
            batches = self.data.steps_per_epoch_of(self.scenario.task_at(content["epoch"]))
            restored = for_lightning(content, self.learner, self.trainer, batches, path)
            checkpoints.hand_over(path, restored)

    def train(self) -> dict[str, float | str]:
        """Fit, evaluate and write the results. metrics.json comes last: it marks the run as finished.

        Of several processes the first one evaluates and writes, while the others wait.
        """
        processes.from_first(self._open)
        with self._failure_told():
            self._fit()
            return processes.from_first(self._close)

    def _open(self) -> None:
        """Write the settings, and what the run is made with."""
        if self.start.epochs < self.scenario.total_epochs:
            self.folder.figures.unlink(missing_ok=True)  # a finished run is being extended
        settings = OmegaConf.to_yaml(OmegaConf.structured(self.settings))
        write_text(self.folder.config, f"# mergan {VERSION}\n# tasks: {self._tasks()}\n{settings}")
        self._session = Session(self.folder, self.trainer.strategy.root_device, max(self.start.step, 0))

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """Tell the loggers of an end before the end; Lightning does so for the steps alone."""
        try:
            yield
        except BaseException:
            for logger in self.trainer.loggers:
                logger.finalize("failed")
            raise

    def _close(self) -> dict[str, float | str]:
        """Write the figures."""
        self.learner.to(self.trainer.strategy.root_device)  # Lightning has taken it back to the CPU
        metrics = self._final_metrics()
        remarks.say(self.settings, self.evaluator, self.scenario, metrics)
        self._log_final(metrics)
        self._session.end()
        write_text(self.folder.figures, json.dumps(metrics, indent=2) + "\n")
        return metrics

    def _tasks(self) -> str:
        """The class names of all tasks: they show the order of a shuffled or drawn stream."""
        return shortened(self.scenario.text(self.pool.class_names), LONGEST_STREAM)

    def _fit(self) -> None:
        try:
            with logging_redirect_tqdm(), interrupts.deferred():
                self.trainer.fit(
                    self.learner, datamodule=self.data, ckpt_path=self.settings.ckpt_path, weights_only=True
                )
        except SystemExit:
            # Lightning exits like this after SIGTERM and after Ctrl-C
            interrupts.check()
            raise KeyboardInterrupt from None

    def _final_metrics(self) -> dict[str, float | str]:
        learner, evaluator, clocks = self.learner, self.evaluator, self.evaluation
        steps = self.trainer.global_step
        metrics: dict[str, float | str] = {**clocks.figures(self.scenario)}
        if evaluator.reverse_per_class > 0:
            metrics["reverse_accuracy"] = evaluator.reverse_accuracy(
                learner.generate, self.scenario.classes, learner.strategy.stored_images
            )
        images = steps * learner.batches_per_step * learner.batch_size * processes.me().count
        return metrics | {
            "judge_accuracy": evaluator.judge_accuracy(self.scenario.classes),
            "train_seconds": round(clocks.train_seconds, 2),
            "evaluation_seconds": round(clocks.evaluation_seconds, 2),
            "images_per_second": round(images / max(clocks.train_seconds, 1e-9), 1),
            "steps": float(steps),
            **self.costs.figures(),
            "bytes_kept": float(learner.strategy.bytes_kept(learner.generator)),
            **remarks.conditions(self.settings, evaluator, self.scenario.classes),
        }

    def _log_final(self, metrics: dict[str, float | str]) -> None:
        final = {f"final/{key}": value for key, value in metrics.items() if not isinstance(value, str)}
        settings = config.plain(self.settings)
        settings["tasks"] = self._tasks()
        hand_final(self.trainer.loggers, settings, final, self.trainer.global_step)


def _slower(run: Experiment, error: TrainingError) -> Experiment:
    """The same run from its last checkpoint, with lower learning rates.

    Raises:
        TrainingError: `error` itself, if no attempt is left.
    """
    recovery, last = run.settings.recovery, run.folder.last
    if recovery.used >= recovery.attempts:
        raise error
    recovery = replace(recovery, used=recovery.used + 1)
    settings = replace(run.settings, recovery=recovery)
    going_on = None
    if last.is_file():
        settings = replace(settings, ckpt_path=str(last))
        going_on = Continuation(OmegaConf.structured(settings), run.links, checkpoint.read(last))
    log.warning(
        "%s; going back to %s with learning rates times %g (attempt %d of %d)",
        error,
        settings.ckpt_path or "the start",
        recovery.lr_factor**recovery.used,
        recovery.used,
        recovery.attempts,
    )
    return Experiment(settings, run.links, run.folder, going_on)


@contextmanager
def _how_to_go_on(folder: Path) -> Iterator[None]:
    """Add the last good checkpoint to the message of a training error, a lost process or a full disk."""
    last = RunFolder(folder).last
    try:
        yield
    except (TrainingError, LostProcessError) as error:
        saved = f"the last good checkpoint is {last}" if last.is_file() else "there is no checkpoint yet"
        raise type(error)(f"{error}; {saved}") from error
    except OSError as error:
        if not files.is_full(error):
            raise
        remedy = f"go on with ckpt_path={last}" if last.is_file() else "start again"
        raise StorageError(f"{folder}: no room is left to write there; free some, then {remedy}") from error
