"""mergan export: files that run without mergan, the file to share, and the model card."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import warm
from omegaconf import DictConfig
from test_names_in_pictures import ODD

import mergan
from mergan import config
from mergan.checkpoints import generator_file
from mergan.checkpoints.description import Description
from mergan.config.instantiate import part
from mergan.networks.plain import plain_form
from mergan.run import experiment
from mergan.run.build import complete_generator
from mergan.run.rebuilding import TrainedGenerator
from mergan.sharing import checking
from mergan.sharing.base import Draw
from mergan.sharing.card import model_card
from mergan.sharing.exported_program import ExportedProgram
from mergan.sharing.exporting import export
from mergan.sharing.formats import FORMATS, format_of
from mergan.strategies import Strategy
from mergan.system.errors import CheckpointError, ConfigError, StorageError

ONNX, WEIGHTS, PROGRAM = FORMATS
SHAPE: dict[str, Any] = {"latent_dim": 8, "num_classes": 4, "channels": 1, "image_size": 16}
BY_Z = "class_and_z"
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "dcgan": lambda: part(
        "network.generator", "network=dcgan", **SHAPE, width=4, private_z=3, modulation=BY_Z
    ),
    "dcgan of the paper": lambda: part(
        "network.generator", "network=dcgan", **SHAPE, width=4, private_z=0, modulation="class", norm="batch"
    ),
    "resnet": lambda: part(
        "network.generator", "network=resnet", **SHAPE, width=4, max_width=8, modulation=BY_Z
    ),
    "upsample, decoder of the cvae": lambda: complete_generator(
        {"_target_": "mergan.learners.cvae.CVAE"},
        part("network.generator", "network=upsample", **SHAPE, width=4),
        num_classes=4,
        latent_dim=8,
    ),
}


@pytest.fixture(scope="module")
def run(compose: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run with an averaged generator."""
    folder = tmp_path_factory.mktemp("run")
    experiment.run(compose("strategy=ewc", "learner.ema=0.5", "epochs=1"), folder)
    return folder


def settings(out: Path, overwrite: bool = False, *trust: str) -> config.ExportConfig:
    return config.ExportConfig(str(out), overwrite, list(trust))


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """The network with parameters and moments that are not those of the start, where parts have no effect."""
    torch.manual_seed(0)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.add_(0.2 * torch.rand_like(value))
    return network.eval()


def trained(network: torch.nn.Module, strategy: Strategy | None = None) -> TrainedGenerator:
    cfg = DictConfig({"embedding_dim": 8})
    return TrainedGenerator(network, strategy or Strategy(), ["a", "b", "c", "d"], [0, 2, 3], cfg)


def described(**changes: Any) -> Description:
    own: dict[str, Any] = {
        "version": "1", "class_names": ["a", "b", "c", "d"], "learned": [0, 2, 3], "latent_dim": 8,
        "channels": 1, "image_size": 16, "data": "x", "licence": "y", "training": {}, "figures": {},
    }  # fmt: skip
    return Description(**own | changes)


# ---------------------------------------------------------------- programs


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dcgan"])  # it is in other tests
def test_every_network_has_a_plain_form_that_runs_with_any_batch(name: str, tmp_path: Path) -> None:
    generator = trained(shaken(NETWORKS[name]()))
    PROGRAM.write(generator, described(), tmp_path / "a.pt2")
    assert checking.check(PROGRAM, tmp_path / "a.pt2", generator, tmp_path) < 1e-5
    assert checking.depends_on_batch(generator) == (name == "dcgan of the paper")


def rejecting(confidence: float) -> TrainedGenerator:
    """A generator whose images are candidates that a solver accepts."""
    strategy = tiny.strategy_of("deep_generative_replay", solver_width=4, tries=5, confidence=confidence)
    network = shaken(NETWORKS["dcgan"]())
    strategy.build(network, 4, 1, 16)
    return trained(network, shaken(strategy))


@pytest.mark.parametrize("confidence", [0.0, 0.3])
def test_all_candidates_at_once_give_the_image_of_one_after_another(confidence: float) -> None:
    generator = rejecting(confidence)
    z, labels = torch.randn(50, 8, generator=torch.Generator().manual_seed(1)), torch.arange(50) % 4
    plain = plain_form(generator.strategy).generate(generator.network, z, labels)
    first = generator.network(z, generator.strategy.constant.expand(50))
    assert (plain - generator(z, labels)).abs().max() < 1e-5
    assert (plain - first).abs().amax(dim=(1, 2, 3)).gt(0.01).any()


def test_sampling_by_rejection_is_exported_with_the_generator(tmp_path: Path) -> None:
    generator = rejecting(0.3)
    PROGRAM.write(generator, described(), tmp_path / "a.pt2")
    assert checking.check(PROGRAM, tmp_path / "a.pt2", generator, tmp_path) < 1e-5


class Counting(torch.nn.Module):
    """A generator whose code takes the size of the batch as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.stack([z[i].repeat(32).view(1, 16, 16) + self.weight for i in range(len(z))])


def test_a_network_that_freezes_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot trace Counting .* \.safetensors") as refused:
        PROGRAM.write(trained(Counting()), described(), tmp_path / "a.pt2")
    assert "\n" not in str(refused.value)


class Frozen(ExportedProgram):
    """Reads a file wrongly, in a way that its name says: only one image, or other images."""

    def read(self, path: Path, generator: TrainedGenerator) -> Draw:
        draw = super().read(path, generator)
        return lambda z, labels: draw(z[:1], labels[:1]) if path.stem == "short" else -draw(z, labels)


def test_a_file_that_draws_other_images_is_refused(tmp_path: Path) -> None:
    generator = trained(shaken(NETWORKS["dcgan"]()))
    PROGRAM.write(generator, described(), tmp_path / "short.pt2")
    shutil.copy(tmp_path / "short.pt2", tmp_path / "other.pt2")
    for stem, said in {"short": r"for a batch of 7", "other": r"draws other images .* batch of 1"}.items():
        with pytest.raises(ConfigError, match=rf"^out=x: .*{said}"):
            checking.check(Frozen(), tmp_path / f"{stem}.pt2", generator, Path("x"))
    (tmp_path / "cut.pt2").write_bytes((tmp_path / "other.pt2").read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be opened"):
        checking.check(PROGRAM, tmp_path / "cut.pt2", generator, Path("x"))


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """exported(".onnx"): the file of that suffix, alone with its card in a folder; made once."""
    files: dict[str, Path] = {}

    def of_suffix(suffix: str) -> Path:
        if suffix not in files:
            files[suffix] = tmp_path_factory.mktemp("exported") / f"generator{suffix}"
            export(run, settings(files[suffix]))
        return files[suffix]

    return of_suffix


SUFFIXES = [each.suffix for each in FORMATS]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_program_of_the_card_draws_the_learned_classes(
    run: Path, exported: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    out = exported(suffix)
    assert {path.name for path in out.parent.iterdir()} == {out.name, "generator.md"}
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (tmp_path / "example.py").write_text(f"{example}import numpy\nnumpy.save('pixels.npy', pixels)\n")
    shutil.copy(out, tmp_path)
    done = warm.run(["example.py"], tmp_path, {"PYTHONPATH": str(tiny.ROOT)})
    assert done.returncode == 0, done.stderr
    pixels = np.load(tmp_path / "pixels.npy")
    assert pixels.shape == (40, 1, 16, 16) and pixels.dtype == np.uint8 and pixels.std() > 1
    assert ("import mergan" in example) == (suffix == ".safetensors")
    figures = json.loads((run / "metrics.json").read_text())
    assert f"| accuracy | {figures['accuracy']:.3f} |" in card and "mergan.strategies.ewc.EWC" in card


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_run_gives_the_same_file_which_names_no_folder(
    run: Path, exported: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    export(run, settings(tmp_path / f"generator{suffix}"))
    for name in (f"generator{suffix}", "generator.md"):
        content = (tmp_path / name).read_bytes()
        assert content == (exported(suffix).parent / name).read_bytes()
        assert not any(str(folder).encode() in content for folder in (run, tiny.ROOT, tmp_path))


def test_onnx_says_what_it_is_and_refuses_other_labels(exported: Callable[[str], Path]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported(".onnx"))
    about = json.loads(session.get_modelmeta().custom_metadata_map["mergan"])
    assert about["learned"] == [0, 1, 2, 3] and about["class_names"] == ["0", "1", "2", "3"]
    assert about["value_range"] == [-1, 1] and about["training"]["tasks so far"] == 2
    assert [(each.name, each.type) for each in session.get_inputs()] == [
        ("z", "tensor(float)"), ("labels", "tensor(int64)")
    ]  # fmt: skip
    z = np.zeros((1, 8), np.float32)
    with pytest.raises(Exception, match="out of data bounds"):
        session.run(None, {"z": z, "labels": np.array([4])})


def test_a_checkpoint_of_a_task_is_described_as_such(run: Path, tmp_path: Path) -> None:
    export(run / "checkpoints" / "task_00.ckpt", settings(tmp_path / "a.safetensors"))
    about = generator_file.read(tmp_path / "a.safetensors").description
    assert about.learned == [0, 1] and about.training["tasks so far"] == 1
    matrix = mergan.read_run(run).matrices["accuracy"]
    assert about.figures["accuracy"] == pytest.approx(matrix.loc[0, ["0", "1"]].mean())
    assert "| 2 | 2 | no |" in (tmp_path / "a.md").read_text()


def test_a_refused_command_writes_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(out: str, match: str, run: Path = run, overwrite: bool = False) -> None:
        with pytest.raises(ConfigError, match=match):
            export(run, settings(tmp_path / out, overwrite))

    for name in ("a.onxx", "a", "a.ckpt", "a.npz"):
        refused(name, r"ends with \.onnx, \.safetensors, \.pt2")
    refused("a.onnx", "no such run folder or checkpoint", run / "none")
    assert not any(tmp_path.iterdir())
    for there in ("a.md", "a.onnx"):
        (tmp_path / there).write_text("mine")
        refused("a.onnx", rf"{there}: there is a file already.*overwrite=true")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused("b.onnx", r"needs onnxruntime; install with pip install 'mergan\[export\]'")
    assert {path.name for path in tmp_path.iterdir()} == {"a.md", "a.onnx"}
    export(run, settings(tmp_path / "a.safetensors", True))
    assert (tmp_path / "a.md").read_text().startswith("# a.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"a.md", "a.onnx", "a.safetensors"}


@pytest.mark.parametrize("suffix", [".pt2", ".safetensors"])
def test_a_full_disk_is_one_line_and_leaves_nothing(run: Path, tmp_path: Path, suffix: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(StorageError, match=rf"a{re.escape(suffix)}: cannot be written \(File too large"):
            export(run, settings(tmp_path / f"a{suffix}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())


def test_the_door_answers_in_one_line(tmp_path: Path) -> None:
    name = "name one run folder or checkpoint: python -m mergan export RUN [KEY=VALUE ...]; --help says more"
    for words, line in {
        (): name,
        ("a", "b"): name,
        ("a", "ouut=b"): "ouut=b: unknown key ouut; did you mean out?",
        ("a", "jobs=2"): "jobs=2: there is no such key; --help shows the keys",
        ("a", "trust=b"): "trust=b: use a list, e.g. trust=[b]",
        ("a", "out=b.zip"): "out=b.zip: name a file that ends with .onnx, .safetensors, .pt2",
        ("a", "out=b.pt2"): "a: there is no such run folder or checkpoint",
    }.items():
        result = warm.run(["-m", "mergan", "export", *words], tmp_path)
        assert (result.returncode, result.stderr) == (2, f"error: {line}\n")
    assert not any(tmp_path.iterdir())


def test_a_class_of_ones_own_needs_trust(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    experiment.run(compose("strategy=finetune", "epochs=1", *tiny.PAINTER), tmp_path / "run")
    out = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"trust=\[tiny\]"):
        export(tmp_path / "run", settings(out))
    export(tmp_path / "run", settings(out, False, "tiny"))
    with pytest.raises(CheckpointError, match=r"network\.generator is tiny\.Painter.*trust=\[tiny\]"):
        mergan.load(out)
    images, labels = mergan.load(out, trust=["tiny"]).sample()
    assert tiny.painted_labels(images / 127.5 - 1, 4).tolist() == labels.tolist()


# ---------------------------------------------------------------- the file to share


@pytest.fixture
def shared(exported: Callable[[str], Path]) -> Path:
    return exported(".safetensors")


def test_the_shared_file_draws_what_the_checkpoint_draws(run: Path, shared: Path, tmp_path: Path) -> None:
    before, after = mergan.load(run), mergan.load(shared)
    assert torch.equal(before.sample(per_class=3, seed=4)[0], after.sample(per_class=3, seed=4)[0])
    assert np.array_equal(before.grid(3), after.grid(3)) and before.seen == after.seen
    tensors = generator_file.read(shared).tensors
    assert not any(key.startswith("strategy.") for key in tensors)  # EWC's Fisher information stays
    for door, status in {"sample": 0, "evaluate": 2}.items():
        result = warm.run(["-m", "mergan", door, f"checkpoint={shared}", "out=b.npz"], tmp_path)
        assert (result.returncode, len(result.stderr.splitlines())) == (status, status // 2)
    export(shared, settings(tmp_path / "generator.safetensors"))  # from which it goes on without a loss
    assert (tmp_path / "generator.safetensors").read_bytes() == shared.read_bytes()


def test_sampling_by_rejection_travels_in_the_shared_file(tmp_path: Path) -> None:
    generator = rejecting(0.3)
    words = ["strategy=deep_generative_replay", "network=dcgan", "network.generator.width=4"]
    words += ["network.generator.private_z=3", f"network.generator.modulation={BY_Z}", "embedding_dim=8"]
    words += ["strategy.solver_width=4", "strategy.tries=5", "strategy.confidence=0.3"]
    generator.config = config.compose(*words)
    WEIGHTS.write(generator, described(), tmp_path / "a.safetensors")
    assert checking.check(WEIGHTS, tmp_path / "a.safetensors", generator, tmp_path) == 0


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        mergan.load(path)
    message = str(refused.value)
    assert message.startswith(f"checkpoint {path}: ") and "\n" not in message
    return message


def rewritten(shared: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the shared file with a changed header."""
    content = shared.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["mergan"])
    header["__metadata__"]["mergan"] = about
    change(header)
    if isinstance(header["__metadata__"].get("mergan"), dict):
        header["__metadata__"]["mergan"] = json.dumps(about)
    text = json.dumps(header).encode()
    path = folder / "b.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return path


def test_cut_and_foreign_files_are_refused(shared: Path, tmp_path: Path) -> None:
    content, path = shared.read_bytes(), tmp_path / "b.safetensors"
    for cut in (0, 1, 7, 8, 9, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        refusal(path)
    for other in (
        content + b"x", b"x" * 500, b"\xff" * 8 + content[8:], b"PK" + content[2:],
        struct.pack("<Q", 10) + b"[" * 10, struct.pack("<Q", 10**6) + b"[" * 10**6,
        struct.pack("<Q", 4) + b"\xff" * 4, struct.pack("<Q", 2) + b"{}",
    ):  # fmt: skip
        path.write_bytes(other)
        refusal(path)
    path.unlink()
    os.mkfifo(path)
    assert refusal(path).endswith("not a file")


HOSTILE: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "a function": (("config", "network", "generator", "_target_"), "os.system", r"trust=\[os\]"),
    "a discriminator": (
        ("config", "network", "generator", "_target_"),
        "mergan.networks.dcgan.Discriminator",
        "trust=",
    ),
    "a learner of others": (("config", "learner", "_target_"), "subprocess.Popen", r"trust=\[subprocess\]"),
    "a strategy of others": (("config", "strategy"), {"_target_": "os.system"}, r"trust=\[os\]"),
    "arguments for Hydra": (("config", "network", "generator", "_args_"), ["x"], "only a command may say"),
    "an interpolation": (("config", "network", "generator", "norm"), "${oc.env:HOME}", "no value"),
    "more parts": (("config", "callbacks"), {"_target_": "os.system"}, "none of a generator"),
    "no network": (("config", "network"), None, "none of a generator"),
    "a wide network": (("config", "network", "generator", "width"), 10**7, "is .*, here "),
    "an absurd network": (("config", "network", "generator", "width"), 2**70, "cannot be built"),
    "a number for a word": (("config", "network", "generator", "norm"), 3, "cannot be built"),
    "an unknown argument": (("config", "network", "generator", "command"), "x", "cannot be built"),
    "another format": (("description", "format"), 99, "a later version may read it"),
    "no description": (("description",), [], "format 1"),
    "many classes": (("description", "class_names"), [str(i) for i in range(10**5)], "is .*, here "),
    "classes twice": (("description", "class_names"), ["a"] * 4, "class_names is not all different"),
    "nothing learned": (("description", "learned"), [], "learned"),
    "an unknown class": (("description", "learned"), [0, 4], "learned"),
    "a negative class": (("description", "learned"), [-1], "learned"),
    "a huge latent size": (("description", "latent_dim"), 2**40, "latent_dim"),
    "another latent size": (("description", "latent_dim"), 9, "cannot draw"),
    "another size": (("description", "image_size"), 32, "is .*, here |missing|not known"),
    "an odd size": (("description", "image_size"), 17, "image_size"),
    "a size as text": (("description", "image_size"), "16", "image_size"),
    "four channels": (("description", "channels"), 4, "channels"),
    "nested training": (("description", "training"), {"a": {"b": 1}}, "training"),
    "figures of lists": (("description", "figures"), {"a": [1]}, "figures"),
    "no version": (("description", "version"), None, "version"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_stands_in_the_header_is_data(shared: Path, tmp_path: Path, kind: str) -> None:
    keys, value, words = HOSTILE[kind]

    def change(header: dict[str, Any]) -> None:
        place = header["__metadata__"]["mergan"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    assert re.search(words, refusal(rewritten(shared, tmp_path, change)))


def test_tensors_that_are_not_those_of_the_network_are_refused(shared: Path, tmp_path: Path) -> None:
    def without_metadata(header: dict[str, Any]) -> None:
        header["__metadata__"] = {"format": "pt"}

    def overlapping(header: dict[str, Any]) -> None:
        first, second, *_ = [name for name in header if name != "__metadata__"]
        header[second]["data_offsets"] = header[first]["data_offsets"]

    def huge(header: dict[str, Any]) -> None:
        name = next(name for name in header if name != "__metadata__")
        header[name]["shape"] = [2**40, 2**40]

    def renamed(header: dict[str, Any]) -> None:
        name = next(name for name in header if name != "__metadata__")
        header[f"{name}x"] = header.pop(name)

    assert "not a generator that mergan exported" in refusal(rewritten(shared, tmp_path, without_metadata))
    for change in (overlapping, huge, renamed):
        refusal(rewritten(shared, tmp_path, change))
    content = generator_file.read(shared)
    tensors = {key: torch.full_like(value, float("nan")) for key, value in content.tensors.items()}
    generator_file.write(tmp_path / "c.safetensors", content._replace(tensors=tensors))
    assert "not finite" in refusal(tmp_path / "c.safetensors")


# ---------------------------------------------------------------- the card


def test_hostile_names_are_text_in_the_card(tmp_path: Path) -> None:
    names = [*ODD, "a\nb", "</td><script>alert(1)</script>", "`x`", "| --- |", "\x1b[2J"]
    own = described(
        class_names=names, learned=list(range(3)), data=names[-3], licence=names[4], version=names[4],
        training={f"{name}.{name}": name for name in names}, figures={"accuracy": 0.5, "fid": "<b>|"},
    )  # fmt: skip
    card = model_card(own, ONNX, Path("a_b<i>.onnx"), True)
    fence = card[card.index("```python") : card.rindex("```")]
    rest = card.replace(fence, "")
    assert not re.search(r"<|\x1b|\u202e|\$", rest) and rest.count("```") == 1
    rows = [line for line in rest.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == len(names) and all(row.count("|") == 4 for row in rows)
    assert "draw many images of one class" in rest


@pytest.mark.parametrize("name", sorted(path.stem for path in (config.CONF / "data").glob("*.yaml")))
def test_every_data_set_says_its_licence(name: str, tmp_path: Path) -> None:
    words = [f"data={name}", f"data.root={tmp_path}", "data.channels=3"]
    words += ["data.num_classes=3"] if name == "synthetic" else []
    licence = part("data.source", *words).licence
    assert (licence == "not stated") == (name in ("cifar10", "cifar100"))


def test_the_suffix_chooses_the_format() -> None:
    for each in FORMATS:
        assert format_of(Path(f"a{each.suffix.upper()}")) is each
