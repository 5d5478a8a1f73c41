"""What the updates of a run have taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Costs:
    """What the updates of a run have taken so far, by the name of the optimizer, in this process.

    Attributes:
        updates: optimizer steps.
        images: images seen in these updates. The generator has seen those that it drew with gradients,
            whichever term of its loss asked for them. The discriminator has seen those that it judged in its
            own updates: real ones, replays and generated ones.
    """

    updates: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
