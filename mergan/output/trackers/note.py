"""The file in a run folder that says which run of a tracker it is.

It may come from somebody else, and is read as data.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from mergan.output.reading import read_text
from mergan.system.errors import ConfigError
from mergan.system.files import write_text

log = logging.getLogger(__name__)

RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


def read_note(path: Path) -> str | None:
    """The id of the run; None where no file is, and, with a warning, where it names none."""
    try:
        found = json.loads(read_text(path))
    except FileNotFoundError:
        return None
    except (ConfigError, ValueError, RecursionError):
        found = None
    run = found.get("run") if isinstance(found, dict) else None
    if isinstance(run, str) and RUN_ID.fullmatch(run):
        return run
    log.warning("%s: names no run of a tracker; a new one is started there", path)
    return None


def write_note(path: Path, run: str) -> None:
    """Write the id of the run, atomically."""
    write_text(path, json.dumps({"run": run}) + "\n")
