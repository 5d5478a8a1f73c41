"""The processes that train one run together: how they meet, wait for each other and share results.

In a run of one process every function here returns what it got. mergan.system.whole_batch has what they share
in a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from mergan.system.errors import ConfigError, LostProcessError
from mergan.system.launched import OF_TORCHRUN, Member

Result = TypeVar("Result")

MEETING = timedelta(minutes=10)  # how long the processes wait for each other at the start
# how long they wait later: the first one alone trains judges and measures. A process that ends is noticed at
# once, because its connections close.
WORK = timedelta(days=1)

CUT_OFF = ("by peer", "Broken pipe", "imed out")  # what gloo says, in errors of no type of their own

_alone = Member()
_me = _alone  # among the processes of this run


def me() -> Member:
    """This process among those of the run that it has joined."""
    return _me


@contextmanager
def joined(member: Member, gpus: bool) -> Iterator[None]:
    """Connect this process with the others of its run while the context is open.

    Args:
        member: which one this process is.
        gpus: whether they train on GPUs, each on the one with its local number.

    Raises:
        ConfigError: they cannot be reached.
        LostProcessError: one of them has ended.
    """
    global _me
    if member.starter == "srun":
        _as_by_torchrun(member)
    if gpus:
        torch.cuda.set_device(member.local_rank)
    try:
        store, _, _ = next(dist.rendezvous("env://", member.rank, member.count, timeout=MEETING))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=store,
            rank=member.rank,
            world_size=member.count,
            timeout=WORK,
        )
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ConfigError(
            f"the {member.count} processes of this run do not find each other at {place} "
            f"({str(error).splitlines()[0][:200]})"
        ) from error
    _me = member
    try:
        yield
    finally:
        _me = _alone
        dist.destroy_process_group()


def _as_by_torchrun(member: Member) -> None:
    """Set the variables of torchrun, which PyTorch and Lightning read, for a task of srun."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    first = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    os.environ.setdefault("MASTER_ADDR", first)
    # the jobs of a machine have different numbers, and all tasks of a step the same
    os.environ.setdefault("MASTER_PORT", str(15_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 10_000))
    values = (member.rank, member.count, member.local_rank, member.local_count)
    os.environ.update(zip(OF_TORCHRUN, map(str, values), strict=True))
    os.environ["GROUP_RANK"] = str(member.rank // member.local_count)


@torch.no_grad()
def spread(module: nn.Module) -> None:
    """Give all processes the parameters and buffers that the first one has."""
    if _me.count == 1:
        return
    for tensor in module.state_dict().values():
        flat = tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
        meet(lambda flat=flat: dist.broadcast(flat, 0))  # type: ignore[misc]
        tensor.copy_(flat.view(tensor.dtype).view_as(tensor))


def wait() -> None:
    """Wait until all processes are here."""
    if _me.count > 1:
        meet(lambda: dist.all_reduce(torch.zeros(1)))


def from_first(make: Callable[[], Result]) -> Result:
    """What the first process makes, in all of them. The others wait for it.

    Raises:
        LostProcessError: in the others, if it could not make it.
    """
    if _me.count == 1:
        return make()
    found: list[Any] = [make() if _me.leads else None]
    meet(lambda: dist.broadcast_object_list(found, 0, device=torch.device("cpu")))
    return found[0]


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the first process of every machine pass first: it makes what the others find in the cache."""
    if not _me.speaks:
        wait()
    yield
    if _me.speaks:
        wait()


def meet(operation: Callable[[], Result]) -> Result:
    """Run a collective operation; returns what it returns.

    Raises:
        LostProcessError: another process has ended.
    """
    try:
        return operation()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(words in str(error) for words in CUT_OFF):
            raise LostProcessError("another process of this run has ended") from error
        raise
