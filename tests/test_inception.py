"""Inception features: the weights are looked for before anything else, and never fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from torch_fidelity import feature_extractor_inceptionv3 as theirs

from mergan.config import inception_weights
from mergan.evaluation.features.inception import Inception
from mergan.run import experiment
from mergan.system.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder of downloads in place of the user's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the real one, with random weights."""

    class Untrained(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:  # type: ignore[override]
            pass

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    torch.save(Untrained("x", ["2048"], feature_extractor_weights_path=str(path)).state_dict(), path)
    return path


def test_missing_weights_are_refused_before_training_starts(cache_dir: Path) -> None:
    with pytest.raises(DataError) as refusal:
        tiny.compose(cache_dir, "evaluation=inception")
    message = str(refusal.value)
    for needed in (
        str(cache_dir / inception_weights.FILE),
        inception_weights.SOURCE,
        "evaluation.inception_weights",
    ):
        assert needed in message
    assert "\n" not in message
    with pytest.raises(DataError, match=r"elsewhere\.pth is missing"):
        tiny.compose(cache_dir, "evaluation.features=inception", "evaluation.inception_weights=elsewhere.pth")


def test_weights_are_found_in_the_cache_and_where_torch_downloads_to(tmp_path: Path) -> None:
    downloads = tmp_path / "torch" / "hub" / "checkpoints"
    downloads.mkdir(parents=True)
    (downloads / inception_weights.FILE).touch()
    assert inception_weights.find_weights(None, tmp_path / "cache") == downloads / inception_weights.FILE
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / inception_weights.FILE).touch()
    assert (
        inception_weights.find_weights(None, tmp_path / "cache")
        == tmp_path / "cache" / inception_weights.FILE
    )


def test_smoke_runs_do_without_the_weights(cache_dir: Path) -> None:
    cfg = tiny.compose(cache_dir, "evaluation=inception", "debug=smoke")
    assert cfg.evaluation.features == ["judge"]


@pytest.mark.parametrize("content", [b"", b"no weights", None], ids=["empty", "garbage", "foreign"])
def test_broken_weights_are_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"other": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pth: not readable"):
        Inception(str(path), "")


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_torch_fidelity(weights: Path, channels: int) -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8, generator=rng)
    features = Inception(str(weights), "")(images)
    network = theirs.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(weights))
    assert features.shape == (2, 2048)
    assert torch.equal(features, network(images.expand(-1, 3, -1, -1).contiguous())[0])


def test_run_measures_on_inception_features(cache_dir: Path, tmp_path: Path, weights: Path) -> None:
    own = [
        "evaluation=inception",
        f"evaluation.inception_weights={weights}",
        "evaluation.samples_per_class=3",
    ]
    stream = ["scenario.tasks=[[0]]", "epochs=1", "evaluation.references_per_class=3"]
    metrics = experiment.run(tiny.compose(cache_dir, *own, *stream), tmp_path / "run")
    assert metrics["evaluation_features"] == "judge,inception"
    names = {"precision", "coverage", "kid", "diversity"}
    assert names | {f"{name}_inception" for name in names} <= set(metrics)


def test_clog_is_refused_without_weights_and_with_too_few_images(
    cache_dir: Path, tmp_path: Path, weights: Path
) -> None:
    """Its 2,048 images of a task take minutes; test_clog.py has runs that end well, with other features."""
    with pytest.raises(DataError, match=r"^evaluation\.spaces\.inception: .* is missing; fetch "):
        tiny.compose(cache_dir, "evaluation=clog")
    own = ["evaluation=clog", f"evaluation.inception_weights={weights}", "evaluation.samples_per_class=1023"]
    few = ["evaluation.metrics.fid_per_task.min_references=2", "evaluation.references_per_class=1"]
    with pytest.raises(ConfigError) as told:
        experiment.run(tiny.compose(cache_dir, *own, *few), tmp_path / "run")
    assert str(told.value) == (
        "evaluation.samples_per_class=1023: fid_per_task_inception takes 2048 generated images of features "
        "with 2048 dimensions, and 2 classes have 2046; use 1024 or more, or "
        "evaluation.metrics.fid_per_task=null"
    )
    assert not (tmp_path / "run").exists()
