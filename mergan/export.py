"""Write a trained generator as one file for other programs and people, with a model card.

RUN is a run folder, which means its last checkpoint, or a checkpoint. FILE.onnx runs with onnxruntime and
FILE.pt2 with PyTorch, both without mergan and with any batch size. FILE.safetensors is the format to share
with users of mergan: mergan.load and mergan sample read it. FILE.md, beside it, is the model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mergan import config
from mergan.cli import settings
from mergan.cli.door import Door
from mergan.cli.guard import guard
from mergan.system.errors import ConfigError
from mergan.system.interpreter import collector_paused, run_and_leave
from mergan.system.text import shown

DOOR = Door(
    "export",
    about=__doc__ or "",
    usage="RUN [KEY=VALUE ...]",
    examples=(
        "runs/first out=generator.onnx",
        "runs/first/checkpoints/task_02.ckpt out=after_three.safetensors",
        "generator.safetensors out=generator.pt2 overwrite=true",
    ),
    composed=False,
)


def _export(words: Sequence[str]) -> None:
    own, runs = settings.read(config.ExportConfig, config.CONF / "export.yaml", words)
    unknown = [word for word in runs if "=" in word and not Path(word).exists()]
    if unknown:
        raise ConfigError(f"{shown(unknown[0])}: there is no such key; --help shows the keys")
    if len(runs) != 1:
        raise ConfigError(f"name one run folder or checkpoint: {DOOR.command} {DOOR.usage}; --help says more")
    with collector_paused():
        from mergan.cli import jobs
        from mergan.sharing import exporting

    with jobs.quiet_surroundings():
        exporting.export(Path(runs[0]), own)


def main(typed: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return guard(DOOR, typed, _export)


if __name__ == "__main__":
    run_and_leave(main)
