"""mergan.sample and mergan.evaluate on the checkpoint of a tiny run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from mergan import config
from mergan.run import experiment
from mergan.run.measurement import measure
from mergan.run.sampling import sample
from mergan.run.trained import load_generator
from mergan.system.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def run_folder(compose: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    experiment.run(compose("learner.ema=0.5"), folder)
    return folder


def sample_config(checkpoint: Path, out: Path, **settings: object) -> DictConfig:
    cfg = config.compose(name="sample")
    cfg.update({"checkpoint": str(checkpoint), "out": str(out), **settings})
    return cfg


def drawn(run_folder: Path, out: Path, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    sample(sample_config(run_folder / "checkpoints" / "last.ckpt", out, **settings))
    with np.load(out) as arrays:
        return arrays["images"], arrays["labels"]


def test_arrays_have_the_shape_of_the_contract(run_folder: Path, tmp_path: Path) -> None:
    images, labels = drawn(run_folder, tmp_path / "samples.npz", per_class=5)
    assert images.dtype == np.uint8 and images.shape == (20, 1, 16, 16)
    assert labels.dtype == np.int64 and labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_seed_and_classes_choose_the_images(run_folder: Path, tmp_path: Path) -> None:
    images, labels = drawn(run_folder, tmp_path / "a.npz", per_class=3, classes=[3, 0])
    again, _ = drawn(run_folder, tmp_path / "b.npz", per_class=3, classes=[3, 0])
    other, _ = drawn(run_folder, tmp_path / "c.npz", per_class=3, classes=[3, 0], seed=1)
    assert labels.tolist() == [3, 3, 3, 0, 0, 0]
    assert np.array_equal(images, again) and not np.array_equal(images, other)


def test_images_come_from_the_averaged_generator(run_folder: Path) -> None:
    generator = load_generator(run_folder / "checkpoints" / "last.ckpt")
    state = generator.content["state_dict"]
    for name, value in generator.network.state_dict().items():
        assert torch.equal(value.cpu(), state[f"ema.module.{name}"])
    assert any(
        not torch.equal(state[f"ema.module.{n}"], state[f"generator.{n}"])
        for n in generator.network.state_dict()
    )


def test_a_task_checkpoint_knows_only_its_classes(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.npz"
    sample(sample_config(run_folder / "checkpoints" / "task_00.ckpt", out, per_class=2))
    with np.load(out) as arrays:
        assert set(arrays["labels"].tolist()) == {0, 1}
    with pytest.raises(ConfigError, match=r"classes=\[2\]"):
        sample(sample_config(run_folder / "checkpoints" / "task_00.ckpt", tmp_path / "2", classes=[2]))


def test_bad_checkpoint_and_count_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        sample(sample_config(tmp_path / "none.ckpt", tmp_path / "out.npz"))
    with pytest.raises(ConfigError, match="per_class=0"):
        sample(sample_config(tmp_path / "none.ckpt", tmp_path / "out.npz", per_class=0))
    assert not (tmp_path / "out.npz").exists()


def test_what_is_there_is_not_written_over(run_folder: Path, tmp_path: Path) -> None:
    last = run_folder / "checkpoints" / "last.ckpt"
    for checkpoint in (last, run_folder / "metrics.json", Path("/dev/null")):
        before = checkpoint.lstat()[:4], checkpoint.lstat().st_mtime_ns
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match="out="):
                sample(sample_config(last, checkpoint, per_class=1, overwrite=overwrite))
            settings = config.compose(name="evaluate")
            settings.checkpoint, settings.out, settings.overwrite = str(last), str(checkpoint), overwrite
            with pytest.raises(ConfigError, match="out="):
                measure(settings)
        assert (checkpoint.lstat()[:4], checkpoint.lstat().st_mtime_ns) == before
    first, _ = drawn(run_folder, tmp_path / "samples.npz", per_class=1)
    with pytest.raises(ConfigError, match="overwrite=true"):
        sample(sample_config(last, tmp_path / "samples.npz", per_class=2))
    second, _ = drawn(run_folder, tmp_path / "samples.npz", per_class=2, overwrite=True)
    assert len(second) == 2 * len(first)


def test_evaluate_measures_what_the_run_measured(
    run_folder: Path, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    settings = config.compose(name="evaluate")
    settings.checkpoint, settings.out = (
        str(run_folder / "checkpoints" / "last.ckpt"),
        str(tmp_path / "figures.json"),
    )
    settings.evaluation = compose().evaluation
    measure(settings)
    again = json.loads((tmp_path / "figures.json").read_text())
    before = json.loads((run_folder / "metrics.json").read_text())
    for key in ("accuracy", "reverse_accuracy", "forgetting"):
        assert again[key] == before[key], key
    assert {f"accuracy_class_{label}" for label in range(4)} <= again.keys()
