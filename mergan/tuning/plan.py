"""The plan of a search: what a command asks for, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.cli import in_process, words
from mergan.cli.words import key_of
from mergan.config import SearchConfig, SearchSettings
from mergan.output.places import check_output_folder
from mergan.system.errors import ConfigError
from mergan.system.text import shown
from mergan.tuning import checking, space, storage
from mergan.tuning.space import Dimension

OWN = "search."
PRUNING = "search.pruning_metric"
SPLIT = "evaluation.split"
# keys of a training that a search sets for each trial
TAKEN = {
    "hydra.run.dir": "search.dir= names the search folder, which holds the run folders",
    "hydra.sweep.dir": "search.dir= names the search folder, which holds the run folders",
    "hydra.mode": "leave it out",
    "resume": "the same command with search.dir= goes on with a search",
    "ckpt_path": "each trial trains from its start; init_from= starts all from the same networks",
}


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        settings: the keys search.*.
        folder: the search folder, an absolute path.
        storage: the storage, see mergan.tuning.storage.settled.
        dimensions: what is searched.
        fixed: the other overrides, the same in all trials.
        config_dir: the folder of --config-dir.
        cache_dir: where the trainings keep decoded images and judges.
        accelerator: `trainer.accelerator`.
        metrics: the figures to optimise; true: higher is better.
        pruning: the figure by which trials are stopped early, likewise; None: none is stopped.
    """

    settings: SearchSettings
    folder: Path
    storage: str
    dimensions: Sequence[Dimension]
    fixed: Sequence[str]
    config_dir: Path | None
    cache_dir: Path
    accelerator: str | None
    metrics: Mapping[str, bool]
    pruning: tuple[str, bool] | None

    @property
    def split_given(self) -> bool:
        """Whether the command says which images measure the trials."""
        return SPLIT in map(key_of, (*self.fixed, *(part.word for part in self.dimensions)))

    def best(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a training with these values, by name of the dimension."""
        return [*self.fixed, *(part.override(values[part.name]) for part in self.dimensions)]

    def trial(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial with these values."""
        found = self.best(values)
        if not self.split_given:
            found.append(f"{SPLIT}=val")
        if self.pruning is not None:
            target = "mergan.callbacks.pruning.Pruning"
            found.append(f"+callbacks.pruning={{_target_:{target},metric:{self.pruning[0]}}}")
        return found

    def record(self) -> dict[str, Any]:
        """What may not change while a search goes on, by the words that say it."""
        return {
            "search of": sorted(part.word for part in self.dimensions),
            "settings": sorted(word for word in self.fixed if not config.harmless(key_of(word))),
            "search.metric": list(self.metrics),
            PRUNING: self.settings.pruning_metric,
            "search.sampler": self.settings.sampler.name,
            "search.seed": self.settings.seed,
        }


def plan(typed: Sequence[str]) -> Plan:
    """The plan of a command.

    Args:
        typed: the words of the command line.

    Raises:
        MerganError: a word cannot be read, or a value that would be tried is refused.
    """
    args = words.parse(typed)
    for flag, value in vars(args).items():
        if value and flag not in ("overrides", "config_dir"):
            raise ConfigError(f"--{flag.replace('_', '-')}: a search takes KEY=VALUE and --config-dir only")
    config_dir = None if args.config_dir is None else Path(args.config_dir).expanduser().absolute()
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"--config-dir {shown(str(config_dir))}: there is no such folder")
    given = words.overrides(args.overrides, sweep=True)
    for word in given:
        if remedy := TAKEN.get(key_of(word)):
            raise ConfigError(f"{shown(word)}: a search sets this key itself; {remedy}")
    searched, fixed = space.parse(given, [] if config_dir is None else [config_dir])
    settings = _settings(searched, [word for word in fixed if key_of(word).startswith(OWN)])
    if not searched:
        raise ConfigError(
            "nothing is searched: give a key several values, as in 'lr=tag(log,interval(1e-4,1e-2))' or "
            "'batch_size=choice(16,32)'"
        )
    folder = check_output_folder(Path(settings.dir), "search.dir").absolute()
    trained = [word for word in fixed if not key_of(word).startswith(OWN)]
    dimensions, cfg = checking.checked(searched, trained, config_dir)
    metrics, pruning = _figures(settings, cfg, any(key_of(word) == PRUNING for word in fixed))
    return Plan(
        settings,
        folder,
        storage.settled(settings.storage, folder),
        dimensions,
        trained,
        config_dir,
        Path(cfg.cache_dir),
        cfg.trainer.get("accelerator"),
        metrics,
        pruning,
    )


def _settings(searched: Sequence[Dimension], given: Sequence[str]) -> SearchSettings:
    """The keys search.* of a command."""
    for part in searched:
        if part.name.startswith(OWN):
            raise ConfigError(f"{shown(part.word)}: has one value; a list is written {part.key}=[...]")
    with in_process.in_one_line("search", given):
        cfg = config.load_configuration("search", given)
        config.check_interpolations(cfg)
        config.check_fields(cfg, SearchConfig)
        settings = OmegaConf.to_object(cfg.search)
    assert isinstance(settings, SearchSettings)
    return settings


def _figures(
    settings: SearchSettings, cfg: DictConfig, asked: bool
) -> tuple[dict[str, bool], tuple[str, bool] | None]:
    """The figures to optimise, and the one to stop trials by.

    Args:
        settings: the keys search.*.
        cfg: the configuration of a trial.
        asked: whether the command sets search.pruning_metric.
    """
    from mergan.tuning import figures  # which imports torch

    metrics = figures.chosen("search.metric", settings.metric, figures.at_the_end(cfg))
    name = settings.pruning_metric
    if name is None:
        return metrics, None
    if len(metrics) == 1:
        ((name, higher),) = figures.chosen(PRUNING, name, figures.after_a_task(cfg)).items()
        return metrics, (name, higher)
    if asked:
        raise ConfigError(f"{PRUNING}={name}: trials are stopped early for a single search.metric only; "
                          "leave it out, or name one figure")  # fmt: skip
    return metrics, None


def described(plan: Plan) -> str:
    """What a search does, in lines for the terminal."""
    aims = " and ".join(
        f"{'highest' if higher else 'lowest'} {name}" for name, higher in plan.metrics.items()
    )
    lines = [
        f"search for the {aims} in {plan.folder}",
        *(f"  {part.word}" for part in plan.dimensions),
    ]
    if not plan.split_given:
        lines.append(f"measured with {SPLIT}=val: images split off the training data, not the test images")
    if plan.pruning is not None:
        lines.append(f"a trial with {plan.pruning[0]} worse than the median after a task is stopped")
    elif plan.settings.pruning_metric is not None:
        lines.append("no trial is stopped early, because there are several figures to optimise")
    return "\n".join(lines)
