"""Evaluation of a generator: an image classifier, accuracy per task and class, continual summaries."""
