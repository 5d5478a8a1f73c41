"""Trains tiny runs as one of two processes; test_ddp.py starts both and compares what they leave.

RANK=0 WORLD_SIZE=2 ... python one_of_two.py FOLDER CACHE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tiny
import torch

from mergan.run.experiment import build_experiment
from mergan.system import processes
from mergan.system.launched import member

SHORT = ["epochs=1", "steps_per_epoch=3"]
# what is drawn, replayed, penalised and normalised in each way; no dropout, whose masks differ by process
RUNS = {
    "gan": [
        *("strategy.replay_weight=0.5", "strategy.buffer_per_class=7", "learner.ema=0.9"),
        *("objective.mode_seeking=0.1", "objective.r1=1", "objective.penalty_every=2"),
        *("objective.critic_steps=2", "augmentation.probability=0.5"),
    ],
    "batch_norm": [
        *("network=upsample", "network.discriminator.dropout=0", "strategy=retrain_and_align"),
        *("objective=wasserstein_gp", "objective.critic_steps=1"),
    ],
    "class_norm": [
        *("learner=cvae", "network.generator.norm=batch", "strategy=retrain_and_align"),
        "strategy.mode=live",
    ],
    "solver": ["strategy=deep_generative_replay", "strategy.solver_steps=2", "strategy.solver_width=4"],
    "memory": ["strategy=experience_replay", "strategy.capacity=8"],
    "penalty": ["strategy=ewc", "strategy.samples=4"],
    "projected": ["strategy=agem", "strategy.capacity=8"],
    "path": ["strategy=synaptic_intelligence"],
    "rehearsed": ["strategy=rehearsed_alignment", "objective.critic_steps=2"],
    "by_class": [  # three past classes share a batch of eight: 2 images each, so the parts are even
        *("strategy._target_=mergan.strategies.classwise_retrain.ClasswiseRetrain", "strategy.mode=live"),
        # not the Wasserstein loss: the gradient of D's bias is zero, and Adam steps along its rounding errors
        *("network=memory_replay", "objective.gradient_penalty=10"),
        *("objective.critic_steps=2", "objective.mode_seeking=0.1"),
        "scenario.tasks=[[0,1,2],[3]]",
    ],
    "aligned_by_class": [
        *("strategy=replay_alignment", "scenario.tasks=[[0,1,2],[3]]"),
        "strategy._target_=mergan.strategies.classwise_alignment.ClasswiseAlignment",
    ],
    "batch_per_class": [
        "strategy._target_=mergan.strategies.batch_per_class_retrain.BatchPerClassRetrain",
        *("strategy.mode=live", "objective.critic_steps=2"),
    ],
    "passes": ["strategy._target_=mergan.strategies.full_pass_retrain.FullPassRetrain"],
}
HALF = ["batch_size=4", "trainer=ddp"]
STOP = "+callbacks.stop={_target_:tiny.StopAt,epoch:2}"


def train(folder: Path, cache: Path, *words: str) -> dict[str, Any]:
    """Train a run; returns the final state of the learner."""
    run = build_experiment(tiny.compose(cache, *words), folder)
    run.train()
    return tiny.state(run.learner)


def main(folder: Path, cache: Path) -> None:
    states = {}
    with processes.joined(member(), gpus=False):
        for name, words in RUNS.items():
            states[name] = train(folder / name, cache, *HALF, *SHORT, *words)
        half = [*HALF, "strategy=retrain_and_align", "network=upsample"]
        states["whole"] = train(folder / "whole", cache, *half)
        try:
            train(folder / "stopped", cache, *half, STOP)
        except KeyboardInterrupt:
            last = folder / "stopped" / "checkpoints" / "last.ckpt"
            processes.wait()
            states["resumed"] = train(folder / "stopped", cache, *half, f"ckpt_path={last}")
        torch.save(states, folder / f"{member().rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:]))
