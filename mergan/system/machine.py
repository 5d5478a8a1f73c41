"""What a program runs on: the code, the packages, the processor, the memory it has taken."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
PROCESSORS = Path("/proc/cpuinfo")
TRACKED = "mergan/system/version.py"  # a file that a checkout of this project has


def commit(root: Path) -> str | None:
    """The commit of a checkout of this project, with "+" if tracked files differ from it.

    None if `root` is no such checkout, as in an installed package, even inside another project's checkout.

    Args:
        root: the folder with the package.
    """
    if not _git(root, "ls-files", TRACKED):
        return None
    return _git(root, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")


def _git(root: Path, *words: str) -> str | None:
    """What git prints; None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of these distributions; those that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    if PROCESSORS.is_file():
        for line in PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def forget_peak() -> None:
    """Start to look for the peak of this process's memory anew, where the system allows it (Linux)."""
    if RESET.exists():
        try:
            RESET.write_text("5", encoding="ascii")  # proc(5): the peak becomes what is in use now
        except OSError:
            return  # not allowed in some containers: the peak then is that of the process's whole life


def peak_memory() -> int:
    """The most memory that this process has held at once, in bytes: resident, libraries included.

    On Linux since `forget_peak`; elsewhere since the start of the process.
    """
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
