"""What mergan adds to Hydra, which takes plug-ins from the namespace `hydra_plugins` alone.

This package only names them: conf/hydra/ refers to the names, mergan/cli/ holds the code.
"""

from hydra.core.plugins import Plugins

from mergan.cli import grid, parallel, slurm


class GridSweeper(grid.GridSweeper):
    """See mergan.cli.grid."""


class ParallelLauncher(parallel.ParallelLauncher):
    """See mergan.cli.parallel."""


class SlurmLauncher(slurm.SlurmLauncher):
    """See mergan.cli.slurm."""


def register() -> None:
    """Make them known to Hydra, which does not find the packages of an editable installation."""
    for plugin in (GridSweeper, ParallelLauncher, SlurmLauncher):
        Plugins.instance().register(plugin)
