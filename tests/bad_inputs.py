"""Configurations that must be refused; made from the groups of conf/, so that new keys are among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import tiny
from omegaconf import DictConfig, ListConfig

from mergan import config

GROUPS = (
    "strategy",
    "network",
    "objective",
    "scenario",
    "evaluation",
    "trainer",
    "logger",
    "callbacks",
    "data",
)
WITH = {"evaluation=clog": ("evaluation.features=[judge]",)}  # Inception's weights are missing here
FREE = ("network.name", "caps")  # a word for messages; set by debug=smoke only


@dataclass(frozen=True)
class Bad:
    """Overrides, the last of which must be refused, and a word that the message must hold."""

    overrides: tuple[str, ...]
    word: str

    @property
    def group(self) -> str:
        """The group of the bad key, "" for the top level."""
        group = self.overrides[-1].split(".")[0]
        return group if group in GROUPS else ""

    def __str__(self) -> str:
        return " ".join(self.overrides)


@cache
def leaves() -> dict[str, tuple[str, object]]:
    """Every key of the configuration: the choice of group that has it, and its value there."""
    found: dict[str, tuple[str, object]] = {}
    choices = {
        group: sorted(path.stem for path in (tiny.ROOT / "conf" / group).glob("*.yaml")) for group in GROUPS
    } | {"data": ["synthetic"]}
    for group, names in choices.items():
        for name in names:
            for key, value in _leaves(config.compose(f"{group}={name}")):
                if key.startswith(f"{group}."):
                    found.setdefault(key, (f"{group}={name}", value))
    for key, value in _leaves(config.compose()):
        if key.split(".")[0] not in GROUPS:
            found[key] = ("strategy=finetune", value)
    return {key: value for key, value in found.items() if key not in FREE}


def _leaves(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in node:
        child, key = node._get_node(name), f"{prefix}{name}"
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _leaves(child, f"{key}.")
        else:
            yield key, child if isinstance(child, ListConfig) else node.get(name)


def wrong_types() -> list[Bad]:
    """Every key with a value of another type."""
    found = []
    for key, (choice, value) in leaves().items():
        # no YAML value is no word, path or number at once; a mapping is none of what the keys take
        chosen = (choice, *WITH.get(choice, ()))
        found.append(Bad((*chosen, f"{key}={{a:1}}"), key.rsplit(".", 1)[-1]))
        if isinstance(value, (bool, int, float, ListConfig)):
            found.append(Bad((*chosen, f"{key}=abc"), key.rsplit(".", 1)[-1]))
    return found


def typos() -> list[Bad]:
    """Every key with a letter too many."""
    return [Bad((choice, f"{key}x=1"), f"{key}x") for key, (choice, _) in leaves().items()]


OUT_OF_RANGE = [
    Bad((override,), override.split("=")[0].rsplit(".", 1)[-1])
    for override in (
        "epochs=0", "epochs=-1", "epochs=[1,0]", "epochs=[1,2,3]", "epochs=1.5", "epochs=[]",
        "batch_size=0", "batch_size=-4", "embedding_dim=0", "lr=0", "lr=-1e-3", "lr=nan", "lr=inf",
        "lr_d=0", "lr_d=-inf", "seed=-1", "seed=99999999999", "steps_per_epoch=0",
        "scenario.classes_per_task=0", "scenario.order_seed=-1",
        "scenario.tasks=[[0],[0]]", "scenario.tasks=[[0],[7]]", "scenario.tasks=[[0],[-1]]",
        "scenario.tasks=[[]]", "scenario.tasks=[]", "scenario.tasks=[[zero],['0']]", "scenario.tasks=[0,1]",
        "scenario.tasks=[['0'],[0]]", "scenario.class_order=[a,b]",
        "scenario.class_order=[0,1,2,9]", "scenario.class_order=[0,1,2,2]", "scenario.class_order=random",
        "data.image_size=28", "data.image_size=0", "data.channels=2", "data.channels=0", "data.num_classes=0",
        "data.val_fraction=0", "data.val_fraction=1", "data.val_fraction=-0.5",
        "data.source.num_classes=0", "data.source.train_per_class=0", "data.source.test_per_class=-3",
        "data.source.seed=-1", "learner.betas=[0.5]", "learner.betas=[0.5,1.0]", "learner.betas=[-0.1,0.9]",
        "learner.ema=0", "learner.ema=1", "learner.ema=1.5", "learner.lr_schedule=linea",
        "learner.latent_dim=0", "learner.shared_rate=-0.1", "learner.shared_rate=1.5",
        "learner.batch_size=-1", "learner.lr=0", "learner.seed=-1", "learner.log_every_n_steps=0",
        "network.generator.width=0", "network.generator.width=-4", "network.generator.norm=layer",
        "network.discriminator.width=0", "objective.critic_steps=0", "objective.lambda_cls_g=-1",
        "objective.lambda_cls_d=-1", "objective.r1=-0.1", "objective.penalty_every=0",
        "objective.mode_seeking=-1", "evaluation.samples_per_class=0", "evaluation.references_per_class=0",
        "evaluation.k=0", "evaluation.reverse_per_class=-1", "evaluation.reverse_steps=0",
        "evaluation.classifier_steps=0", "evaluation.seed=-1", "evaluation.split=train",
        "evaluation.features=vgg", "evaluation.metrics.kid.subset_size=0", "evaluation.metrics.kid.subsets=0",
        "evaluation.metrics.coverage.k=0", "callbacks.samples.columns=0", "callbacks.samples.seed=-1",
        "callbacks.checkpoint.every_n_epochs=0", "callbacks.progress.refresh_seconds=-1",
        "recovery.attempts=-1", "recovery.lr_factor=0", "recovery.lr_factor=1", "recovery.used=-1",
        "resume=always", "trainer.precision=16-mixed", "trainer.precision=8", "trainer.accelerator=abacus",
        "+trainer.gradient_clip_val=1.0", "+trainer.accumulate_grad_batches=2", "ckpt_path=nowhere.ckpt",
        "init_from=nowhere.ckpt", "strategy=finetun", "network=dcgam", "objective=hing", "data=mnst",
        "scenario=ten", "evaluation=defualt", "trainer=cpuu", "logger=csvv", "callbacks=none",
        "experiment=mnist", "debug=smok",
    )
]  # fmt: skip
OF_STREAMS = [
    Bad(("scenario=repetition", f"scenario.{override}"), override.split("=")[0])
    for override in (
        "num_tasks=0", "num_tasks=1", "num_tasks=10000000000", "classes_per_task=0", "classes_per_task=null",
        "repetition=1.5", "repetition=-0.1", "repetition=nan", "order_seed=-1", "tasks=[[0],[7]]",
        "tasks=[[0,0]]", "tasks=[[]]", "tasks=[[nobody]]", "class_order=[0,0]", "class_order=backwards",
        "class_order=[nobody]",
    )
]  # fmt: skip
OF_STRATEGIES = [
    Bad((f"strategy={strategy}", f"strategy.{override}"), override.split("=")[0])
    for strategy, override in (
        ("joint_retrain", "mode=online"), ("joint_retrain", "buffer_per_class=0"),
        ("joint_retrain", "max_per_class=-1"), ("joint_retrain", "replay_per_step=0"),
        ("joint_retrain", "min_real_share=1.5"), ("joint_retrain", "min_real_share=-0.1"),
        ("joint_retrain", "replay_weight=-1"), ("joint_retrain", "replay_spread=0"),
        ("replay_alignment", "weight=-1"), ("replay_alignment", "edges=-1"),
        ("replay_alignment", "batch_size=0"), ("retrain_and_align", "weight=-2"),
        ("retrain_and_align", "mode=off"), ("ewc", "weight=-1"), ("ewc", "samples=0"), ("ewc", "decay=2"),
        ("mas", "weight=-1"), ("mas", "samples=-1"), ("mas", "decay=-0.5"),
        ("deep_generative_replay", "buffer_per_class=0"), ("deep_generative_replay", "solver_steps=0"),
        ("deep_generative_replay", "solver_width=0"), ("deep_generative_replay", "tries=0"),
        ("experience_replay", "capacity=0"), ("experience_replay", "min_real_share=7"),
    )
]  # fmt: skip
