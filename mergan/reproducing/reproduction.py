"""Make the tables of the documentation again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mergan import config
from mergan.output.places import check_output_folder
from mergan.reproducing import table
from mergan.reproducing.jobs import Job, Pool
from mergan.reproducing.table import Table
from mergan.system.errors import ConfigError, TrainingError
from mergan.system.text import shown


@dataclass(frozen=True)
class Plan:
    """What to make.

    Attributes:
        tables: the tables by name.
        rows: the names of the rows to make, in whichever table.
        out: the folder of their folders.
        jobs: commands in parallel.
        publish: the folder that finished runs are copied to; None: none.
        overrides: KEY=VALUE for every command.
    """

    tables: Mapping[str, Table]
    rows: Sequence[str]
    out: Path
    jobs: int
    publish: Path | None
    overrides: Sequence[str]


def plan(settings: config.ReproduceConfig, overrides: Sequence[str]) -> Plan:
    """The plan of a command.

    Args:
        settings: the settings of the command.
        overrides: overrides KEY=VALUE for every command.

    Raises:
        ConfigError: an unknown table or row, or an invalid number of jobs.
    """
    chosen = table.names() if settings.table is None else settings.table.split(",")
    tables = {name: table.load(name) for name in chosen}
    known = list(dict.fromkeys(row for each in tables.values() for row in each.rows))
    rows = known if settings.only is None else settings.only.split(",")
    for row in rows:
        if row not in known:
            raise ConfigError(f"only={shown(row)}: there is no such row, use some of {','.join(known)}")
    jobs = (os.cpu_count() or 1) if settings.jobs is None else settings.jobs
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}: use a whole number of 1 or more")
    publish = None if settings.publish is None else Path(settings.publish).expanduser()
    return Plan(tables, rows, Path(settings.out).expanduser(), jobs, publish, overrides)


def stages(plan: Plan) -> list[list[Job]]:
    """The jobs of all tables; those of a stage need the stages before to be done.

    Raises:
        ConfigError: see `Table.stages`.
    """
    found: list[list[Job]] = []
    for name, each in plan.tables.items():
        rows = [row for row in each.rows if row in plan.rows]
        for index, jobs in enumerate(each.stages(plan.out / name, rows, plan.overrides)):
            found += [[]] * (index + 1 - len(found))
            found[index] = found[index] + jobs
    return found


def reproduce(plan: Plan) -> None:
    """Run what is not done, write the tables into their folders and print them.

    Raises:
        ConfigError: see `stages`; also if `plan.out` is not a folder.
        TrainingError: a job failed; the tables hold the others.
    """
    for folder in (plan.out, *(plan.out / name for name in plan.tables)):
        check_output_folder(folder)
    waves = stages(plan)
    jobs = [job for wave in waves for job in wave]
    done = sum(job.finished for job in jobs)
    print(f"{len(jobs)} jobs, {done} of them finished; log files in {plan.out}", flush=True)
    pool, failed = Pool(plan.jobs), list[Job]()
    for wave in waves:
        if not failed:  # the next stage needs this one
            failed = pool.run([job for job in wave if not job.finished])
    for name, each in plan.tables.items():
        if each.rows.keys() & set(plan.rows):
            print(f"\n{name}\n\n{each.write(plan.out / name)}")
        if plan.publish is not None:
            each.publish(plan.out / name, plan.publish / name)
    if failed:
        raise TrainingError(f"{failed[0].folder}: failed, see {failed[0].log}")
