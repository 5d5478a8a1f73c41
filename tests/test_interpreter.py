"""What Python spends on itself: its collector, and its end."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextlib import suppress

import pytest
import tiny

from mergan.system import interpreter

SCRIPT = """
import atexit, sys, threading, time
from mergan.system.interpreter import run_and_leave

def late():
    time.sleep(0.2)
    print("thread", flush=True)

class Torn:
    def __del__(self):
        print("taken apart", flush=True)

kept = Torn()

def main():
    atexit.register(print, "registered")
    threading.Thread(target=late).start()
    {body}

run_and_leave(main)
"""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return 0", 0),
        ("return 130", 130),
        ("sys.exit(2)", 2),
        ("sys.exit()", 0),
        ("sys.exit('a message')", 1),
        ("raise ValueError('unexpected')", 1),
    ],
)
def test_a_process_leaves_with_its_status_and_its_last_words(body: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)], cwd=tiny.ROOT, capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout.splitlines() == ["thread", "registered"]
    assert ("a message" in done.stderr) == ("a message" in body)
    assert ("ValueError: unexpected" in done.stderr) == ("ValueError" in body)


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_as_before_after_a_pause(on: bool) -> None:
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    try:
        (gc.enable if on else gc.disable)()
        with suppress(ImportError), interpreter.collector_paused():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == on
        assert gc.get_freeze_count() == frozen
    finally:
        (gc.enable if was_on else gc.disable)()


def test_a_pause_leaves_what_somebody_else_keeps() -> None:
    code = """
import gc
from mergan.system import interpreter
interpreter.keep_what_is_there()
kept = gc.get_freeze_count()
assert kept > 1000
garbage = []
garbage.append(garbage)
del garbage
interpreter.keep_what_is_there()
with interpreter.collector_paused():
    pass
assert gc.get_freeze_count() == kept
assert gc.collect() > 0
"""
    subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=True)
