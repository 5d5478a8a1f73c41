"""Which of the processes of one run this process is, as its starter says in the environment (no torch)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mergan.system.errors import ConfigError

# set by torchrun, and by mergan.run.several for the processes that it starts
OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# set by srun for each task of a step; a batch script without srun lacks the second
OF_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
OURS = "MERGAN_REPORT"  # where a process that mergan.run.several started puts the message of its error


@dataclass(frozen=True)
class Member:
    """One process of a run.

    Attributes:
        rank: its number among all processes; 0 leads: it holds the run folder, measures and writes.
        count: number of processes.
        local_rank: its number on this machine, and that of its GPU.
        local_count: number of processes on this machine.
        starter: "torchrun", "srun" or "mergan", for messages.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    starter: str = ""

    @property
    def leads(self) -> bool:
        """Whether it is the first process of the run."""
        return self.rank == 0

    @property
    def speaks(self) -> bool:
        """Whether it reports errors that all processes of a machine meet alike."""
        return self.local_rank == 0


def member() -> Member:
    """This process among those of its run; the only one unless a launcher says otherwise.

    Raises:
        ConfigError: the variables contradict each other or hold no numbers.
    """
    starter, names = "torchrun", OF_TORCHRUN[:3]
    if not all(name in os.environ for name in names):
        starter, names = "srun", OF_SRUN
    if not all(name in os.environ for name in names):
        return Member()
    rank, count, local_rank = (_number(name) for name in names)
    if rank >= count or local_rank >= count:
        raise ConfigError(f"{names[0]}={rank}: {names[1]} is {count}; unset both, or start with torchrun")
    return Member(rank, count, local_rank, _on_this_machine(starter, count), starter if OURS not in os.environ
                  else "mergan")  # fmt: skip


def _on_this_machine(starter: str, count: int) -> int:
    name = OF_TORCHRUN[3] if starter == "torchrun" else "SLURM_STEP_TASKS_PER_NODE"
    text = os.environ.get(name)
    if text is None:
        return count
    # Slurm: "2(x3)" on three machines, "2,1" on two; all machines must have the same number
    found = text.split("(")[0] if starter == "srun" else text
    if not found.isdecimal() or int(found) < 1 or count % int(found):
        raise ConfigError(f"{name}={text}: start the same number of processes on every machine")
    return int(found)


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise ConfigError(f"{name}={text}: is not a number; unset it, or start with torchrun")
    return int(text)
