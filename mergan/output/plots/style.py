"""Colours and sizes that all pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mergan.output import lettering

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

INK, FAINT, FRAME, PAPER = (30, 30, 30), (110, 110, 110), (225, 225, 225), (255, 255, 255)
MARGIN, TITLE, TEXT, SMALL = 8, 15, 13, 10  # pixels; the last three are font heights

# Distinguishable with any colour vision and on paper (Okabe and Ito, Color Universal Design, 2008), without
# their yellow, which is too light for a line on white.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS = "os^Dvp*"  # with the colours, so that a line is known in grey too
DASHES = ("-", "--", ":", "-.")  # one after another, when the colours begin again


def line(index: int) -> dict[str, Any]:
    """How matplotlib draws the line with this number; the first 28 differ."""
    place = index % len(LINES)
    return {
        "color": LINES[place],
        "marker": MARKERS[(index + 3 * (index // len(LINES))) % len(MARKERS)],
        "linestyle": DASHES[index // len(LINES) % len(DASHES)],
    }


def plain(size: float) -> dict[str, Any]:
    """How matplotlib draws a name: literally, "$" included, in the font that `lettering` checks."""
    from matplotlib.font_manager import FontProperties

    properties = FontProperties(fname=str(lettering.font_file()), size=size)
    return {"fontproperties": properties, "parse_math": False, "usetex": False}


def width(text: str, pixels: int) -> int:
    """Width of a text in pixels, in the font at this height."""
    return int(lettering.font(pixels).getlength(text)) + 1


def write(
    draw: ImageDraw,
    place: tuple[float, float],
    text: str,
    pixels: int,
    colour: tuple[int, ...] = INK,
    anchor: str = "lt",
) -> None:
    """Draw a text with Pillow; `anchor` is Pillow's: which point of the text lies at `place`."""
    draw.text(place, text, colour, lettering.font(pixels), anchor=anchor)
