"""Callbacks around the training steps: snapshot, evaluation, samples, checkpoints, progress."""
