"""Pictures: sample grids and heat maps. All are uint8 arrays (H, W, 3) until they are saved."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mergan.output import lettering
from mergan.system.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

CHARACTER = 0.06  # inches per character of a name beside a heat map
MOST_TICKS = 24  # names along a heat map


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


def heat_maps(
    matrices: Mapping[str, Sequence[Mapping[int, float]]],
    names: Sequence[str],
    higher_is_better: Mapping[str, bool],
) -> np.ndarray:
    """Matrices (task x class) side by side, four in a row; bright is good.

    The titles give the colour ranges, for speed: colour bars and numbers in the cells would take many times
    as long as the rest of the figure.

    Args:
        matrices: by name of the metric; matrices without any value are left out.
        names: names of the classes.
        higher_is_better: by name.
    """
    shown = {name: rows for name, rows in matrices.items() if any(rows)}
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    labels = sorted(set().union(*(row for rows in shown.values() for row in rows)))
    ticks = {
        label: lettering.label(names[label], label, 20) for label in labels[:: -(-len(labels) // MOST_TICKS)]
    }
    longest = max(map(len, ticks.values()))
    upright = longest * CHARACTER * len(ticks) > 2.5
    below = longest * CHARACTER if upright else 0.0  # extra space for upright names
    width, height = 3.2 * columns, 3.2 * lines + below * lines
    panel = (3.2 * lines - 0.75) / (lines + 0.32 * (lines - 1))
    figure = _figure(width, height, layout=None)  # the constrained layout draws everything several times
    figure.subplots_adjust(
        0.45 / width,
        (0.45 + below) / height,
        1 - 0.1 / width,
        1 - 0.3 / height,
        wspace=0.2,
        hspace=0.32 + below / panel,
    )
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (name, rows) in zip(panels, shown.items(), strict=False):
        _heat_map(axes, name, rows, ticks, higher_is_better[name])
        if upright:
            axes.tick_params(axis="x", labelrotation=90)
    for axes in panels[len(shown) :]:
        axes.axis("off")
    return _drawn(figure)


def _heat_map(
    axes: Any,
    name: str,
    rows: Sequence[Mapping[int, float]],
    ticks: Mapping[int, str],
    higher_is_better: bool,
) -> None:
    labels = sorted(set().union(*rows))
    values = np.array([[row.get(label, np.nan) for label in labels] for row in rows])
    low, high = min(0.0, np.nanmin(values)), np.nanmax(values)
    if 0.05 < high < 1:
        high = 1.0  # most are shares
    axes.imshow(
        values, vmin=low, vmax=high, cmap="viridis" if higher_is_better else "viridis_r", aspect="auto"
    )
    ticked = [index for index, label in enumerate(labels) if label in ticks]
    axes.set_xticks(ticked, [ticks[labels[index]] for index in ticked], **_plain(7))
    tasks = range(0, len(rows), -(-len(rows) // MOST_TICKS))
    axes.set_yticks(tasks, [str(index) for index in tasks], fontsize=7)
    axes.set_title(f"{name}, {_short(low)} to {_short(high)}", fontsize=9)
    axes.set_xlabel("class", fontsize=7)
    axes.set_ylabel("after task", fontsize=7)


def _plain(size: float) -> dict[str, Any]:
    """How matplotlib draws a name: literally, "$" included, in the font that `lettering` checks."""
    from matplotlib.font_manager import FontProperties

    properties = FontProperties(fname=str(lettering.font_file()), size=size)
    return {"fontproperties": properties, "parse_math": False, "usetex": False}


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def accuracy_curves(curves: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Average accuracy over the classes seen after each task, one line per run."""
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    lines = [axes.plot(range(len(values)), values, marker="o", markersize=4)[0] for values in curves.values()]
    axes.set_xlabel("after task")
    axes.set_ylabel("average accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    # A line with a name that begins with "_" would be left out of the legend.
    legend = axes.legend(lines, [" "] * len(lines), fontsize=7)
    for index, (text, name) in enumerate(zip(legend.get_texts(), curves, strict=True)):
        text.update({**_plain(7), "text": lettering.label(name, index, 80)})
    return _drawn(figure)


def side_by_side(pictures: Mapping[str, Path]) -> np.ndarray:
    """Pictures from files, side by side, each under its name."""
    from PIL import Image

    figure = _figure(3.2 * len(pictures), 3.6)
    panels = figure.subplots(1, len(pictures), squeeze=False)[0]
    for index, (axes, (name, path)) in enumerate(zip(panels, pictures.items(), strict=True)):
        with Image.open(path) as image:
            axes.imshow(np.asarray(image), interpolation="nearest")
        axes.set_title(lettering.label(name, index, 60), **_plain(7))
        axes.axis("off")
    return _drawn(figure)


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure, its size in inches, made without pyplot's global state and window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout, dpi=120)


def _drawn(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def save_png(picture: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) as PNG, atomically."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
