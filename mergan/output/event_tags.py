"""The tags of TensorBoard's scalars, and the charts of its page CUSTOM SCALARS.

TensorBoard sorts tags by the alphabet and makes a group of those with the same beginning up to the slash.
What matters most comes first:

    after_task/           figures over all classes, after each task
    after_task_accuracy/  accuracy on the classes of each task
    d/, g/                losses, gradients
    lr/                   learning rates
    per_class_NAME/       a figure of each class, where asked for
    progress/             epoch
    speed/                images per second
    summary/              the final figures
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

AFTER_TASK, SUMMARY = "after_task", "summary"
# of other tags than those of earlier versions, whose steps were generator steps
PICTURES = {"samples": "samples after each task", "matrices": "values after each task"}

# terms of the objectives and of the learners in the generator's loss; all others are the strategy's
OF_GENERATOR = "loss|adversarial|classifier|mode_seeking|reconstruction|divergence"
SPACE = "(_random|_pixels|_inception)?"  # in which a figure was measured; none: the features of the judge

# by category: charts, each with a regular expression for its tags
CHARTS = {
    "What is remembered": {
        "accuracy, recall, coverage": rf"{AFTER_TASK}/(accuracy|recall|coverage){SPACE}$",
        "forgetting": rf"{AFTER_TASK}/((recall|coverage){SPACE}_)?forgetting$",
        "FID": rf"{AFTER_TASK}/fid{SPACE}$",
        "accuracy of each task": rf"{AFTER_TASK}_accuracy/",
    },
    "Losses": {
        "discriminator": r"d/(?!gradient$|class_accuracy_)",
        "generator": rf"g/({OF_GENERATOR})$",
        "strategy": rf"g/(?!({OF_GENERATOR}|gradient)$)",
        "gradients": r"[a-z]+/gradient$",
        "class accuracy of the discriminator": r"d/class_accuracy_",
    },
    "Speed": {"images per second": r"speed/images_per_second$", "learning rates": r"lr/"},
}


def tagged(metrics: Mapping[str, Any], per_class: bool) -> dict[str, float]:
    """Scalars by their tags.

    As in metrics.json, the value of a figure over the pooled classes goes by the name of the figure where
    there is one, and the mean over the classes is called an average then.

    Args:
        metrics: by the names under which they were logged, e.g. "accuracy/average" or "g/loss".
        per_class: whether to keep those of single classes, e.g. "recall/class_cat".
    """
    pooled = {name.removesuffix("/pooled") for name in metrics if name.endswith("/pooled")}
    return {
        _tag(name, pooled): float(value)
        for name, value in metrics.items()
        if per_class or "/class_" not in name
    }


def _tag(name: str, pooled: Collection[str]) -> str:
    group, slash, part = name.partition("/")
    if not slash:
        return "progress/epoch" if name == "epoch" else name
    if part == "average":
        return f"{AFTER_TASK}/{group}{'_average' if group in pooled else ''}"
    if part == "pooled":
        return f"{AFTER_TASK}/{group}"
    if part.startswith("task_"):
        return f"{AFTER_TASK}_{group}/{part}"
    if part.startswith("class_"):
        return f"per_class_{group}/{part.removeprefix('class_')}"
    if group == "class_accuracy":
        return f"d/{group}_{part}"
    return f"{SUMMARY}/{part}" if group == "final" else name
