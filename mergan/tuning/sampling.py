"""How values are proposed, and which trials are stopped early."""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Callable
from enum import Enum
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

FIRST = 5  # finished trials from which a median means something


def sampler(kind: Enum, seed: int, parallel: bool) -> BaseSampler:
    """The sampler of `search.sampler`.

    Args:
        kind: tpe (tree-structured Parzen estimator, Bergstra et al. 2011) or random.
        seed: `search.seed`.
        parallel: whether trials run beside each other. TPE then keeps away from the values of running ones.
    """
    if kind.name == "random":
        return Seeded(lambda drawn: RandomSampler(seed=drawn), seed)
    return Seeded(lambda drawn: TPESampler(seed=drawn, constant_liar=parallel), seed)


class Seeded(BaseSampler):
    """A sampler whose random numbers depend on its seed and the number of the trial alone.

    So a search that was interrupted and goes on proposes what an uninterrupted one would have proposed.

    Args:
        make: makes the sampler that proposes, from a seed.
        seed: the seed of the search.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._for(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        chosen = self._for(trial, param_name)
        return chosen.sample_independent(study, trial, param_name, param_distribution)

    def _for(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        return self.make(zlib.crc32(f"{self.seed}/{trial.number}/{name}".encode()))


class BelowMedian(BasePruner):
    """Stops a trial that is worse than the median of the finished trials after the same task.

    Optuna's MedianPruner looks at the best value of a trial so far, because it expects a learning curve. The
    figures of a continual stream fall from task to task, so that the best would always be the first.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial after the last task that it has reported."""
        task = trial.last_step
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        values = [other.intermediate_values[task] for other in finished if task in other.intermediate_values]
        if task is None or len(values) < FIRST:
            return False
        median, value = statistics.median(values), trial.intermediate_values[task]
        return value < median if study.direction is StudyDirection.MAXIMIZE else value > median
