"""Real and generated images of the first task in a plane (the paper's figure 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mergan.data.pool import ImagePool
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.features.judge import JudgeFeatures
from mergan.evaluation.features.pixels import Pixels
from mergan.output import lettering
from mergan.output.plots import figures, style
from mergan.reporting.drawing import Drawing, png
from mergan.reporting.walk import Walk
from mergan.system.text import shown

PANELS = 3  # a figure has room for
SEED = 0
SIDE = 8  # of averaged pixels, where there is no judge
PANEL = 3.0  # inches


def drawing(label: str, name: str, walked: Walk, pool: ImagePool, judge: Classifier | None) -> Drawing:
    """The features of the first task's classes after chosen tasks.

    Args:
        label: the name of the run.
        name: of the file.
        walked: what its generators made.
        pool: the data of the run.
        judge: whose features are compared; None: averaged pixels.
    """
    space = Pixels(SIDE) if judge is None else JudgeFeatures(judge)
    real, real_labels = _real(pool, walked.first, walked.per_class)
    features = [space(real), *(space(images) for images, _ in walked.samples.values())]
    places = _plane(np.concatenate([part.double().numpy() for part in features]))
    parts = np.split(places, np.cumsum([len(part) for part in features])[:-1])
    names = [pool.class_names[each] for each in walked.first]
    drawn = [
        (f"after task {task + 1}", part, labels.numpy())
        for part, (task, (_, labels)) in zip(parts[1:], walked.samples.items(), strict=True)
    ]
    picture = _picture(drawn, (parts[0], real_labels), walked.first, names)
    kind = f"pixels averaged to {SIDE} x {SIDE} (cache_dir holds no judge of this data)"
    kind = kind if judge is None else "features of the judge"
    text = (
        f"Scatter charts, t-SNE of {kind}, of real and generated images of the classes "
        f"{', '.join(map(shown, names))}, {', '.join(title for title, _, _ in drawn)}."
    )
    return Drawing(name, label, text, png(picture), f"t-SNE of {kind}; circles: real, crosses: generated")


def _real(pool: ImagePool, classes: Sequence[int], count: int) -> tuple[Tensor, np.ndarray]:
    """The first real training images of each class."""
    import torch

    images = pool.train_set
    chosen = np.concatenate([np.flatnonzero(images.labels == label)[:count] for label in classes])
    found, labels = images.take(chosen)
    return torch.from_numpy(np.ascontiguousarray(found)), labels


def _plane(features: np.ndarray) -> np.ndarray:
    """Features (N, D) -> places (N, 2) by t-SNE (van der Maaten & Hinton 2008); the same each time."""
    from sklearn.manifold import TSNE

    scale = features.std() or 1.0
    perplexity = max(1.0, min(30.0, (len(features) - 1) / 3))
    plane = TSNE(perplexity=perplexity, init="pca", random_state=SEED, n_jobs=1)
    return plane.fit_transform((features - features.mean(axis=0)) / scale)


def _picture(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    real: tuple[np.ndarray, np.ndarray],
    classes: Sequence[int],
    names: Sequence[str],
) -> np.ndarray:
    """Panels side by side: the title, places and labels of the generated images of each."""
    from matplotlib.lines import Line2D

    own = figures.figure(PANEL * PANELS, PANEL + 0.5)
    for axes, (title, places, labels) in zip(
        np.atleast_1d(own.subplots(1, len(panels), sharex=True, sharey=True)), panels, strict=True
    ):
        for number, label in enumerate(classes):
            colour = style.line(number)["color"]
            there, here = real[0][real[1] == label], places[labels == label]
            axes.scatter(*there.T, s=14, facecolors="none", edgecolors=colour, linewidths=0.7, alpha=0.6)
            axes.scatter(*here.T, s=14, marker="x", color=colour, linewidths=1.0)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    handles = [
        Line2D([], [], linestyle="", marker="x", color=style.line(n)["color"]) for n in range(len(names))
    ]
    legend = own.legend(handles, [" "] * len(names), loc="outside lower center", ncols=len(names), fontsize=8,
                        frameon=False)  # fmt: skip
    for number, (text, name) in enumerate(zip(legend.get_texts(), names, strict=True)):
        text.update({**style.plain(8), "text": lettering.label(name, number, 20)})
    return figures.drawn(own)
