"""Pictures: sample grids and heat maps. All are uint8 arrays (H, W, 3) until they are saved."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mergan.storage import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


def sample_grid(
    generate: Callable[[Tensor, Tensor], Tensor],
    classes: Sequence[int],
    columns: int,
    latent_dim: int,
    seed: int,
) -> np.ndarray:
    """One row per class, the same z in every row.

    Args:
        generate: z (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1].
        classes: the rows.
        columns: images per row.
        latent_dim: size of z.
        seed: seed of z.
    """
    import torch  # here, because the report draws without it

    z = torch.randn(columns, latent_dim, generator=torch.Generator().manual_seed(seed))
    rows = [generate(z, torch.full((columns,), label)).cpu().numpy() for label in classes]
    images = ((np.stack(rows).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return tile(images)


def tile(images: np.ndarray, gap: int = 2) -> np.ndarray:
    """Lay out images (rows, columns, C, S, S) as one picture (H, W, 3) with a light gap between them."""
    rows, columns, channels, size, _ = images.shape
    shown = np.repeat(images[:, :, :1], 3, axis=2) if channels < 3 else images[:, :, :3]
    step = size + gap
    picture = np.full((rows * step + gap, columns * step + gap, 3), 225, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * step, gap + column * step
            picture[top : top + size, left : left + size] = shown[row, column].transpose(1, 2, 0)
    return picture


def matrix_heat_map(rows: Sequence[Mapping[int, float]], names: Sequence[str]) -> np.ndarray:
    """An accuracy matrix (task x class) as a picture."""
    labels = sorted(rows[-1])
    values = np.array([[row.get(label, np.nan) for label in labels] for row in rows])
    figure = _figure(1.6 + 0.5 * len(labels), 1.4 + 0.4 * len(rows))
    axes = figure.add_subplot()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(labels)), [names[label] for label in labels])
    axes.set_yticks(range(len(rows)), [str(index) for index in range(len(rows))])
    axes.set_xlabel("class")
    axes.set_ylabel("after task")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7,
                      color="black" if value > 0.6 else "white")  # fmt: skip
    figure.colorbar(image, label="accuracy")
    return _drawn(figure)


def accuracy_curves(curves: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Average accuracy over the classes seen, after each task, one line per run."""
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    for label, values in curves.items():
        axes.plot(range(len(values)), values, marker="o", markersize=4, label=label)
    axes.set_xlabel("after task")
    axes.set_ylabel("average accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return _drawn(figure)


def side_by_side(pictures: Mapping[str, Path]) -> np.ndarray:
    """Pictures from files next to each other, each under its name."""
    from PIL import Image

    figure = _figure(3.2 * len(pictures), 3.6)
    for axes, (label, path) in zip(
        figure.subplots(1, len(pictures), squeeze=False)[0], pictures.items(), strict=True
    ):
        with Image.open(path) as image:
            axes.imshow(np.asarray(image), interpolation="nearest")
        axes.set_title(label, fontsize=7)
        axes.axis("off")
    return _drawn(figure)


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; made without pyplot's global state and window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _drawn(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def save_png(picture: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) as PNG, in one piece."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def to_tensorboard(loggers: Iterable[Any], tag: str, draw: Callable[[], np.ndarray], step: int) -> None:
    """Hand a picture to the loggers that show pictures; it is drawn only if there is one."""
    boards = [logger.experiment.add_image for logger in loggers if hasattr(logger.experiment, "add_image")]
    picture = draw() if boards else None
    for add_image in boards:
        add_image(tag, picture, step, dataformats="HWC")
