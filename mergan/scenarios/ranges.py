"""Checks of arguments that kinds of streams have in common; the messages name the key."""

from __future__ import annotations

from mergan.system.errors import ConfigError

MOST = 2**31 - 1


def check_count(key: str, value: object, optional: bool = False) -> None:
    """Refuse what is not a whole number from 1 to below 2^31, or null where that is optional.

    Raises:
        ConfigError: naming the key.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise ConfigError(
            f"{key}={value}: use a whole number of 1 or more, below 2^31{', or null' if optional else ''}"
        )


def check_seed(key: str, value: object) -> None:
    """Refuse what is not a whole number from 0 to below 2^31.

    Raises:
        ConfigError: naming the key.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ConfigError(f"{key}={value}: use a whole number from 0 to {MOST}")
