"""Learners define what is trained and how. base.py holds what they share; each learner has its own file."""

from mergan.learners.base import ContinualLearner, TaskCallback

__all__ = ["ContinualLearner", "TaskCallback"]
