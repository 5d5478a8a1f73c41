"""The model card: what an exported generator is and how to use it, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mergan.checkpoints.description import Description
from mergan.output import tables
from mergan.sharing.base import Format
from mergan.system.text import markdown, shortened

LONGEST = 250  # characters of a name or a value


def model_card(description: Description, form: Format, out: Path, depends_on_batch: bool) -> str:
    """The text of a model card. Names and values in it may come from anybody; they are shown as text.

    Args:
        description: what the generator is.
        form: format of the file.
        out: path of the file.
        depends_on_batch: whether an image depends on the others in its batch.
    """
    parts = [
        f"# {markdown(out.name)}",
        f"A conditional image generator: it draws images of {len(description.learned)} classes. It was "
        f"trained with mergan {markdown(shortened(description.version))}, which teaches a generator its "
        f"classes task after task. The file is {form.title}.",
        "## Use",
        f"Install `{form.needs}`. Run this beside the file; it draws ten images of each learned class:",
        f"```python\n{form.example(out.name)}```",
        form.advice,
        "## Inputs and output",
        _shapes(description),
        "## Classes",
        _classes(description),
        "## Data",
        f"Data set: {markdown(shortened(description.data, LONGEST))}. Licence of its images: "
        f"{markdown(shortened(description.licence, LONGEST))}.",
        "## Figures",
        _figures(description.figures),
        "## Training",
        _training(description.training),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(description, depends_on_batch)),
    ]
    return "\n\n".join(parts) + "\n"


def _shapes(own: Description) -> str:
    side = own.image_size
    colour = "grey" if own.channels == 1 else "red, green, blue"
    return (
        tables.markdown(
            ["name", "type and shape", "values"],
            [
                [
                    "z",
                    f"float32 (N, {own.latent_dim})",
                    f"standard normal; the latent size is {own.latent_dim}",
                ],
                ["labels", "int64 (N,)", f"the number of a class, 0 to {len(own.class_names) - 1}"],
                ["images", f"float32 (N, {own.channels}, {side}, {side})", f"-1 (black) to 1; {colour}"],
            ],
        )
        + "\n\nN is any number of images. `mergan.load` gives uint8 images instead, from 0 to 255."
    )


def _classes(own: Description) -> str:
    rows = [
        [str(label), markdown(shortened(name, LONGEST)), "yes" if label in own.learned else "no"]
        for label, name in enumerate(own.class_names)
    ]
    return tables.markdown(["label", "class", "learned"], rows)


def _figures(figures: Mapping[str, Any]) -> str:
    columns = [key for key in tables.columns([figures]) if key in figures]
    if not columns:
        return "Nothing was measured."
    cells = zip(columns, tables.figures(figures, columns), strict=True)
    return (
        f"{tables.markdown(['figure', 'value'], [[key, markdown(cell)] for key, cell in cells])}\n\n"
        "The names are those of mergan's `metrics.json`. `accuracy` is the share of images that a "
        "classifier of real images assigns to the requested class. It hides a lack of variety, which "
        "`recall` and `coverage` show."
    )


def _training(settings: Mapping[str, Any]) -> str:
    """A row per part of the configuration with all its settings, and one for each other setting."""
    parts: dict[str, list[str]] = {}
    for key, value in settings.items():
        part, _, name = key.rpartition(".")
        text = shortened(str(value), LONGEST)
        parts.setdefault(part or name, []).append(f"{name} {text}" if part and name != "_target_" else text)
    rows = [[markdown(part), markdown(", ".join(values))] for part, values in parts.items()]
    return tables.markdown(["setting", "value"], rows) if rows else "Not recorded."


def _limits(own: Description, depends_on_batch: bool) -> Iterable[str]:
    missing = len(own.class_names) - len(own.learned)
    if missing:
        yield f"{missing} of the {len(own.class_names)} classes are not learned. Their images mean nothing."
    if "debug" in own.training:
        yield "It comes from a smoke test (`debug=smoke`): images and figures mean nothing."
    if depends_on_batch:
        yield "An image depends on the other images of its batch: draw many images of one class at a time."
    yield "It draws nothing but images like those of its data set, in their size."
    yield "Whether it repeats training images has not been examined."
