"""The page HPARAMS of TensorBoard: what was set and what came out, a row for each run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from mergan.config.comparison import OF_COMMAND
from mergan.output import tables
from mergan.output.event_tags import SUMMARY
from mergan.output.sweep import SweepFolder
from mergan.system.text import shown

# the settings by which runs are mostly told apart
MAIN = ("strategy", "seed", "lr", "batch_size", "embedding_dim", "epochs")
# keys that say how a command works and what it writes
LEFT_OUT = (*OF_COMMAND, "debug", "logger", "callbacks", "recovery", "data.root", "data.download")
OWN_STRATEGY = re.compile(r"mergan\.strategies\.(\w+)\.\w+")

Value = float | bool | str


@dataclass(frozen=True)
class Compared:
    """The settings to compare a run by.

    Attributes:
        values: by key.
        first: those that are listed first.
    """

    values: Mapping[str, Value]
    first: Collection[str]


def of_command(config: Mapping[str, Any]) -> Compared:
    """The settings of a run: in a sweep what varies and then MAIN, else MAIN and then what was typed.

    Args:
        config: the resolved configuration.
    """
    if not HydraConfig.initialized():
        return compared(config, [], None)
    hydra = HydraConfig.get()
    sweep = SweepFolder(Path(hydra.runtime.cwd) / hydra.sweep.dir)
    known = hydra.mode == RunMode.MULTIRUN and sweep.table.is_file()  # another sweeper writes no such table
    return compared(config, list(map(str, hydra.overrides.task)), sweep.varying() if known else None)


def compared(config: Mapping[str, Any], typed: Sequence[str], varying: Sequence[str] | None) -> Compared:
    """See `of_command`.

    Args:
        config: the resolved configuration.
        typed: the overrides of the run, e.g. "learner.ema=0.99".
        varying: the keys whose values differ between the jobs of the sweep; None: there is no sweep.
    """
    words = (word.lstrip("+").partition("=") for word in typed)
    said = {key: value for key, equals, value in words if equals and not _left_out(key)}
    further = [key for key in said if varying is None or key in varying]
    values = {key: _value(config, key, said.get(key, "")) for key in dict.fromkeys((*MAIN, *further))}
    strategy = OWN_STRATEGY.fullmatch(target := str(config["strategy"]["_target_"]))
    values["strategy"] = strategy[1] if strategy else target.rpartition(".")[2]
    return Compared(values, MAIN if varying is None else [key for key in values if key in varying])


def _left_out(key: str) -> bool:
    return any(key == part or key.startswith(f"{part}.") for part in LEFT_OUT)


def _value(config: Any, key: str, said: str) -> Value:
    """The value of a key if it is a plain one, else what was typed, as for the choice of a group."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    if isinstance(config, (bool, int, float, str)):
        return config
    return str(config) if isinstance(config, list) else said or "null"


def started(settings: Compared, figures: Sequence[str], folder: Path) -> Iterator[Any]:
    """The Summaries that list a run. The column of a figure is empty until it is logged.

    Args:
        settings: the settings.
        figures: the names of the figures to compare runs by, as in metrics.json.
        folder: the run folder. The run goes by its name, and by where it lies: runs of the same name would
            be taken for repetitions of one.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    headings = tables.columns([dict.fromkeys(figures, 0.0)])
    # TensorBoard lists first what is said to differ, each part in the order of the alphabet
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=shown(key), type=_type(value), differs=key in settings.first)
            for key, value in settings.values.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=f"{SUMMARY}/{key}"), display_name=headings[key])
            for key in figures
        ],
    )
    place = folder.absolute()
    start = SessionStartInfo(group_name=shown(f"{place.name} in {place.parent}"))
    for key, value in settings.values.items():
        _set(start.hparams[shown(key)], value)
    yield _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))
    yield _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


def finished() -> Any:
    """The Summary that says that a run is finished."""
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _summary(tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    described = metadata.create_summary_metadata(data)
    return Summary(value=[Summary.Value(tag=tag, tensor=metadata.NULL_TENSOR, metadata=described)])


def _type(value: Value) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64


def _set(place: Any, value: Value) -> None:
    if isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, str):
        place.string_value = shown(value)
    else:
        place.number_value = value
