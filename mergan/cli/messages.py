"""Errors as one line, and the exit status of each (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import re
import sys
import traceback

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from mergan.system.errors import ConfigError, LostProcessError, MerganError
from mergan.system.launched import member
from mergan.system.text import shortened, shown

# what Hydra and OmegaConf add to their messages
HYDRA_NOISE = [
    re.compile(pattern)
    for pattern in (
        r"^In '\w+': ",
        r"^Error merging override ",
        r" Config search path: .*",
        r" full_key: ?[^ ]*",
        r" (object_type|reference_type)=\w+",
        r"\. To append to your config use [^ ]+",
    )
]
UNKNOWN_KEY = re.compile(r"Could not override '([^']*)'.*")
OUT_OF_MEMORY = ("out of memory", "allocate memory")  # of a GPU, of the CPU
LONGEST = 1000  # characters of a line
UNEXPECTED, REFUSED = 1, 2  # mergan.system.errors and mergan.system.interrupts define further statuses


def report(error: Exception) -> int:
    """Print the error, in one line if the user can fix it; returns the exit status."""
    code = status(error)
    if code == UNEXPECTED and not isinstance(error, MerganError):
        traceback.print_exception(error)
    elif _is_news(error):
        print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
    return code


def _is_news(error: Exception) -> bool:
    """Whether no other of several processes of a run reports the same."""
    try:
        me = member()
    except ConfigError:  # the error itself
        return True
    return me.leads or (me.speaks and not isinstance(error, LostProcessError))


def status(error: Exception) -> int:
    """The exit status of a command that ends with this error."""
    if isinstance(error, MerganError):
        return error.exit_status
    refused = (HydraException, OmegaConfBaseException)
    if isinstance(error, AttributeError) and hasattr(error, "full_key"):
        return REFUSED  # also an error of OmegaConf, which marks it with the key
    if isinstance(error, refused) or type(error).__name__ == "MisconfigurationException":
        return REFUSED
    if _out_of_memory(error) or (isinstance(error, OSError) and error.filename is not None):
        return REFUSED
    return UNEXPECTED


def one_line(error: Exception) -> str:
    """The message without line breaks and without details that only Hydra's developers need."""
    text = " ".join(str(error).split())
    if _out_of_memory(error):
        return "there is not enough memory; try a smaller batch_size or narrower networks"
    if isinstance(error, OSError) and not isinstance(error, MerganError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        text += ": " + " ".join(str(error.__cause__).split())
    for pattern in HYDRA_NOISE:
        text = pattern.sub("", text)
    key = getattr(error, "full_key", None)
    if key and str(key) not in text:
        text = f"{key}: {text}"
    text = UNKNOWN_KEY.sub(r"unknown key \1", text)
    return shortened(shown(text.strip(" :;")), LONGEST)  # names in it may come from untrusted files


def unknown_key(error: Exception) -> str | None:
    """The key that an override names but the configuration lacks; None for other errors."""
    found = UNKNOWN_KEY.search(str(error))
    return found[1] if found else None


def _out_of_memory(error: Exception) -> bool:
    """Whether the machine or the GPU is out of memory; PyTorch says so only in the message."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    )
