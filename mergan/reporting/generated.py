"""Pictures that need the generator or the data: at most `grids.MOST_RUNS` runs have them.

Whatever stands in the way (no checkpoint, one that is not trusted, data that is not there) is said in a line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mergan.output.folder import RunFolder
from mergan.reporting import groups
from mergan.reporting.absent import Absent
from mergan.reporting.drawing import Drawing
from mergan.reporting.groups import Setting
from mergan.reporting.page import Film, Section
from mergan.reporting.runs import Run
from mergan.system.errors import ConfigError, MerganError, reason
from mergan.system.text import shown

if TYPE_CHECKING:
    from mergan.reporting.walk import Walk

MISSING = "there is no checkpoint of a task's end"


@dataclass(frozen=True)
class Source:
    """Where generators and data come from.

    Attributes:
        trust: modules whose classes the checkpoints may use.
        cache_dir: decoded data sets and judges.
        root: folder of the data sets; None: that of each run.
    """

    trust: Sequence[str] = ()
    cache_dir: str = "cache"
    root: str | None = None

    def check(self) -> None:
        """Refuse what is no module.

        Raises:
            ConfigError: the message names it.
        """
        for module in self.trust:
            if not all(part.isidentifier() for part in module.split(".")):
                raise ConfigError(f"trust={shown(module)}: use the full names of modules")


@dataclass
class Pictures:
    """What was made of the generators.

    Attributes:
        latents, features, neighbours: the sections.
        files: content by name of further files, as seen from the page.
    """

    latents: Section = field(default_factory=lambda: Section(
        "latents", "The same latents through all tasks",
        "Each column is one latent, each row a class: watch what becomes of a class while others are "
        "learned. A class that is still to come is grey.",
    ))  # fmt: skip
    features: Section = field(default_factory=lambda: Section(
        "features", "Features of the first task",
        "Real and generated images of the classes of the first task, after chosen tasks, in one plane "
        "(t-SNE). What is remembered covers the real images.", wide=True,
    ))  # fmt: skip
    neighbours: Section = field(default_factory=lambda: Section(
        "neighbours", "Nearest real images",
        "Generated images after the last task, and below each the nearest real training image of its class. "
        "Distances are root mean squares of the pixels' differences, from 0 to 1. A generator that copies is "
        "much nearer to real images than these are to each other.", wide=True,
    ))  # fmt: skip
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def sections(self) -> list[Section]:
        """All sections."""
        return [self.latents, self.features, self.neighbours]


def pictures(pairs: Sequence[tuple[Setting, Run]], source: Source, folder: str) -> Pictures:
    """Make the pictures of some runs.

    Args:
        pairs: the runs, with their settings.
        source: where generators and data come from.
        folder: of the films, as seen from the page.
    """
    made, absent = Pictures(), Absent()
    for number, (setting, run) in enumerate(pairs, start=1):
        label = groups.label_of(run, setting)
        paths = RunFolder(run.folder).task_checkpoints
        if not paths:
            absent.note(MISSING, label, made.sections)
            continue
        try:
            with _quiet():
                walked = _walk(list(paths.values()), source)
                film, content = _film(label, walked, f"{folder}/film_{number:02d}.webp")
        except (MerganError, OSError, RuntimeError) as error:
            absent.note(_why(error), label, made.sections)
            continue
        made.latents.films.append(film)
        made.files[film.link] = content
        try:
            with _quiet():
                drawn = _against_data(label, number, walked, source)
        except (MerganError, OSError, RuntimeError) as error:
            absent.note(_why(error), label, [made.features, made.neighbours])
            continue
        made.features.drawings.append(drawn[0])
        made.neighbours.drawings.append(drawn[1])
    absent.write()
    return made


def _against_data(label: str, number: int, walked: Walk, source: Source) -> tuple[Drawing, Drawing]:
    """The features and the nearest real images."""
    from mergan.reporting import features, neighbours
    from mergan.run.evaluator import known_judge
    from mergan.run.own_data import own_data

    settings, pool = own_data(walked.last, walked.path, source.cache_dir, source.root)
    judge = known_judge(settings, pool)
    return (
        features.drawing(label, f"features_{number:02d}.png", walked, pool, judge),
        neighbours.drawing(label, f"neighbours_{number:02d}.png", walked.last, pool),
    )


def _walk(paths: Sequence[Path], source: Source) -> Walk:
    from mergan import config
    from mergan.checkpoints.trust import of_command
    from mergan.reporting.walk import walk

    return walk(paths, of_command({}, [config.CONF], list(source.trust)))


def _film(label: str, walked: Walk, link: str) -> tuple[Film, bytes]:
    from mergan.reporting import films

    return films.film(label, walked, link)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what loading logs (chosen settings, data sets) out of the terminal: the page says what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, MerganError) else reason(error)
