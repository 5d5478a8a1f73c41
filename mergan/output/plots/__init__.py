"""Pictures in one style: grids of images and matrices, and the colours and fonts of charts.

Grids and matrices are drawn with Pillow, which takes milliseconds; charts with matplotlib. Every picture is
an array uint8 (H, W, 3) until it is saved. Tasks are counted from 1, as in the terminal.
"""

from mergan.output.plots.grids import MOST_ROWS, Row, grid, samples, side_by_side
from mergan.output.plots.matrices import heat_maps
from mergan.output.plots.saving import save_animation, save_png

__all__ = [
    "MOST_ROWS",
    "Row",
    "grid",
    "heat_maps",
    "samples",
    "save_animation",
    "save_png",
    "side_by_side",
]
