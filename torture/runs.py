"""Small runs in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRATEGIES = sorted(path.stem for path in (ROOT / "conf" / "strategy").glob("*.yaml"))

# two tasks of two classes, six epochs each, with everything that carries state from step to step
SETTINGS = [
    "data=synthetic", "data.num_classes=4", "data.image_size=16", "data.source.train_per_class=30",
    "data.source.test_per_class=10", "scenario.classes_per_task=2", "epochs=6", "steps_per_epoch=3",
    "batch_size=8", "embedding_dim=8", "network.generator.width=4", "network.discriminator.width=4",
    "learner.log_every_n_steps=2", "learner.reset_optimizers=false", "learner.ema=0.9",
    "objective.critic_steps=2",
    "evaluation.samples_per_class=4", "evaluation.k=2", "evaluation.reverse_per_class=4",
    "evaluation.reverse_steps=2", "evaluation.classifier_steps=2", "callbacks.samples.columns=2",
    "trainer.accelerator=cpu",
]  # fmt: skip
OF_STRATEGY = {
    "ewc": ["strategy.samples=8"],
    "mas": ["strategy.samples=8"],
    "experience_replay": ["strategy.capacity=9"],
    "deep_generative_replay": ["strategy.solver_steps=3"],
}


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        name: what was done.
        tried: how often.
        lost: how often something was lost, accepted or ended otherwise than promised.
        details: of what was lost, and figures.
    """

    name: str
    tried: int
    lost: int
    details: str = ""


def train(folder: Path, cache: Path, *overrides: str) -> list[str]:
    """The command of a small run."""
    own = [f"hydra.run.dir={folder}", f"cache_dir={cache}", "callbacks.progress.bar=false"]
    return [sys.executable, str(ROOT / "train.py"), *SETTINGS, *own, *overrides]


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command with one thread; it writes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, cwd=log.parent, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
