"""What TensorBoard shows besides curves and pictures: the charts of CUSTOM SCALARS, and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mergan.output import tables
from mergan.output.event_tags import CHARTS
from mergan.system.text import markdown


def scalars(values: Mapping[str, float]) -> Any:
    """Scalars by tag, as one Summary."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def charts() -> Any:
    """The layout of the page CUSTOM SCALARS, as a Summary."""
    from torch.utils.tensorboard.summary import custom_scalars

    return custom_scalars(
        {
            category: {title: ["Multiline", [tags]] for title, tags in members.items()}
            for category, members in CHARTS.items()
        }
    )


def text(tag: str, content: str) -> Any:
    """Markdown for the page TEXT, as a Summary. (torch's own adds a suffix to the tag.)"""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    value = Summary.Value(
        tag=tag,
        metadata=create_summary_metadata(display_name="", description=""),
        tensor=make_tensor_proto(content),
    )
    return Summary(value=[value])


def fenced(content: str, language: str) -> str:
    """Text in a fence of Markdown, longer than any that the text holds."""
    longest = max(map(len, re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content.rstrip()}\n{fence}"


def closing(figures: Mapping[str, float], tasks: str) -> str:
    """The closing table of a run in Markdown, and the tasks to which it belongs.

    Args:
        figures: the final figures by name, as in metrics.json.
        tasks: the classes of all tasks.
    """
    columns = tables.columns([figures])
    table = tables.markdown(list(columns.values()), [tables.figures(figures, columns)])
    return f"{table}\n\nTasks: {markdown(tasks)}"
