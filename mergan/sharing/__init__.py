"""Trained generators as files for other programs and people: a format per file, and the model card."""
