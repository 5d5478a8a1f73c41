"""The page: one HTML file that needs nothing beside it, and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from mergan.reporting.drawing import Drawing
from mergan.reporting.tables import Table
from mergan.system.text import shown
from mergan.system.version import VERSION

TYPES = {"svg": "image/svg+xml", "png": "image/png", "webp": "image/webp"}


@dataclass(frozen=True)
class Film:
    """The same latents through all tasks.

    Attributes:
        title: the run.
        rows: names of the rows, from above.
        frames: WebP, one per task, all of one size.
        shape: width and height of a frame in pixels.
        text: what the frames show.
        link: the animated file, as seen from the page.
    """

    title: str
    rows: Sequence[str]
    frames: Sequence[bytes]
    shape: tuple[int, int]
    text: str
    link: str


@dataclass
class Section:
    """A section of the page.

    Attributes:
        id: the target of links.
        title: its heading.
        intro: what it shows, in a sentence or two.
        drawings: figures, in a grid.
        tables: below the figures.
        folded: tables that are shown on demand.
        films: pictures with a slider.
        remarks: what is absent and why, a line each.
        wide: whether the figures need more room than charts.
    """

    id: str
    title: str
    intro: str = ""
    drawings: list[Drawing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    wide: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show, nor to say."""
        return not (self.drawings or self.tables or self.folded or self.films or self.remarks)


def html(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as text. Every name in it is shown literally."""
    import jinja2

    folder = files("mergan.reporting") / "templates"
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "table.html")}
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=_literal,
    )  # fmt: skip
    environment.filters["uri"] = uri
    environment.filters["image"] = lambda drawing: uri(*_inlined(drawing))
    environment.filters["exact"] = repr
    return environment.get_template("page.html").render(
        title=title, lead=lead, sections=[section for section in sections if not section.empty],
        version=VERSION, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script),
    )  # fmt: skip


def _literal(value: Any) -> Any:
    """What is put into the page: invisible characters of names are escaped, as in the terminal."""
    return shown(value) if type(value) is str else value


def uri(content: bytes, kind: str) -> str:
    """The content of a file as an address: nothing has to be fetched."""
    return f"data:{TYPES[kind]};base64,{base64.b64encode(content).decode('ascii')}"


def _inlined(drawing: Drawing) -> tuple[bytes, str]:
    if drawing.inline is not None:
        return drawing.inline, "webp"
    return drawing.content, drawing.name.rpartition(".")[2]


def _hash(text: str) -> str:
    """What the page's policy allows: this text and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
