"""Checks of arguments that come from the configuration; the messages name the key there."""

from __future__ import annotations

import math

from mergan.system.errors import ConfigError


def check_counts(group: str, optional: bool = False, **counts: int | None) -> None:
    """Refuse what is not a whole number of 1 or more.

    Args:
        group: where the arguments lie in the configuration, as "learner".
        optional: allow null.
        **counts: the arguments by name.

    Raises:
        ConfigError: naming the first that is refused.
    """
    for name, count in counts.items():
        if count is None and optional:
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            allowed = "a whole number of 1 or more" + (", or null" if optional else "")
            raise ConfigError(f"{group}.{name}={count}: use {allowed}")


def check_weights(group: str, **weights: float) -> None:
    """Refuse what is not a finite number of 0 or more.

    Raises:
        ConfigError: naming the first that is refused.
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
            raise ConfigError(f"{group}.{name}={weight}: use a number of 0 or more")


def check_shares(group: str, **shares: float) -> None:
    """Refuse what is not a number from 0 to below 1.

    Raises:
        ConfigError: naming the first that is refused.
    """
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
            raise ConfigError(f"{group}.{name}={share}: use a number from 0 to below 1")
