"""The frame around every door: --help, one-line errors, signals, the exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from mergan.cli import first_word, jobs, keys, messages, sweeps, words
from mergan.cli import help as helps
from mergan.cli.door import Door
from mergan.system import environment, interrupts, standard_streams
from mergan.system.errors import ConfigError
from mergan.system.launched import member


def guard(door: Door | None, typed: Sequence[str] | None, work: Callable[[list[str]], Any]) -> int:
    """Run a door; turn an error or a signal into one line and an exit status (docs/ARCHITECTURE.md).

    Args:
        door: the command; None: no command, and --help has no special meaning.
        typed: the words after its name; None: those that the process was started with.
        work: the function to call with the words. If Hydra composes the configuration, it reads sys.argv.
    """
    standard_streams.secure()
    interrupts.install()
    jobs.started.clear()
    sweeps.begin(None)
    status = 0
    if typed is not None:
        sys.argv[1:] = typed
    given = sys.argv[1:]
    try:
        environment.settle()
        if not member().leads:
            standard_streams.silence()  # the first of several processes speaks for all
        if door is not None and _help(door, sys.argv[1:]):
            return 0
        if door is not None and door.composed:
            sys.argv[1:] = words.prepare(first_word.as_setting(sys.argv[1:], door.first))
        work(sys.argv[1:])
    except (KeyboardInterrupt, interrupts.Interrupted) as stop:
        status = stop.exit_status if isinstance(stop, interrupts.Interrupted) else interrupts.CTRL_C
        if member().leads:
            print(f"stopped{_how_to_go_on(door, given, stop) if door else ''}", file=sys.stderr)
    except SystemExit as stop:
        if jobs.started or stop.code != messages.UNEXPECTED:
            raise
        status = messages.REFUSED  # Hydra has said why
    except Exception as error:
        if not any(job.error is error for job in jobs.started):  # otherwise reported already, or below
            status = messages.report(error if jobs.started else _of_command_line(error, door))
    sweep = sweeps.current()
    if sweep is not None and door is not None:
        print(sweeps.closing(sweep, door.command))
        if status not in interrupts.STATUSES:
            print(
                f"the same sweep again, finished jobs as they are: {sweeps.go_on(given, sweep, door.command)}"
            )
        status = status or sweeps.status(sweep.jobs())
    elif failed := [job.error for job in jobs.started if job.error is not None]:
        status = messages.report(failed[0])
    return status


def _how_to_go_on(door: Door, given: Sequence[str], stop: BaseException) -> str:
    """What to add to the message that a command was stopped."""
    if remedy := getattr(stop, "remedy", ""):
        return str(remedy)
    sweep = sweeps.current()
    if sweep is None:
        return jobs.how_to_go_on(door.command)
    return f"; go on with {sweeps.go_on(given, sweep, door.command)}"


def _help(door: Door, typed: Sequence[str]) -> bool:
    """Print the help of a door if the command line asks for it; returns whether it does."""
    if not door.composed:
        asked, folder = bool({"-h", "--help"} & set(typed)), None
    else:
        args = words.parse(typed)
        asked, folder = args.help, args.config_dir
    if asked:
        print(helps.text(door, None if folder is None else Path(folder)))
    return asked


def _of_command_line(error: Exception, door: Door | None) -> Exception:
    """Reword an error from before the first job: Hydra could not read the command or make the run folder."""
    if door is None or not door.composed:
        return error
    if isinstance(error, OSError) and error.strerror:
        named = "hydra.sweep.dir" if {"-m", "--multirun"} & set(sys.argv) else "hydra.run.dir"
        return ConfigError(f"{named}={error.filename}: the folder cannot be made ({error.strerror})")
    if isinstance(error, OmegaConfBaseException) and not getattr(error, "full_key", None):
        asking = [word for word in sys.argv[1:] if "${" in word]
        named = asking[0] if len(asking) == 1 else "command line"
        return ConfigError(f"{named}: {messages.one_line(error)}")
    if key := messages.unknown_key(error):
        typed = words.parse(sys.argv[1:])
        folders = [] if typed.config_dir is None else [Path(typed.config_dir)]
        said = keys.unknown(key, door.name, typed.overrides, folders)
        lists = "--cfg job shows all keys" if door.keys else "--help shows all keys"
        return ConfigError(f"{said}{' ' if said.endswith('?') else '; '}{lists}")
    hydras = isinstance(error, ValueError) and not isinstance(error, OmegaConfBaseException)
    return ConfigError(f"command line: {error}") if hydras else error
