"""Types of values with their ranges, for the annotations of constructors and of the schema.

`mergan.config.hints` checks values against them. Plug-ins may use them, or others of annotated_types.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]  # also the seed of a generator
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, lt=1)]
Portion = Annotated[float, Interval(ge=0, le=1)]
Fraction = Annotated[float, Interval(gt=0, lt=1)]

# for the schema: 32-bit integers, so that no product of two overflows
Count32 = Annotated[int, Interval(ge=1, lt=2**31)]
Whole32 = Annotated[int, Interval(ge=0, lt=2**31)]
Steps = Annotated[int, Interval(ge=2, lt=2**31)]  # points of a path with two ends

ImageSize = Literal[16, 32, 64, 128]
Channels = Literal[1, 3]  # grey, colour
