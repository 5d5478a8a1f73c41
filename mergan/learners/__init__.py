"""Learners define what is trained and how.

What all of them share is in generator.py (the generator and its copies), updates.py (optimizers and their
steps) and base.py (tasks, epochs and seeds). Each learner has its own file.
"""

from mergan.learners.base import ContinualLearner, TaskCallback

__all__ = ["ContinualLearner", "TaskCallback"]
