"""What is trained, and how: base.py has what every continual generator shares, then one file per learner."""

from mergan.learners.base import ContinualLearner, TaskCallback

__all__ = ["ContinualLearner", "TaskCallback"]
