"""Judging a generator: an image classifier, accuracy per task and class, continual summaries."""
