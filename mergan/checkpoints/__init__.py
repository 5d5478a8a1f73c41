"""Checkpoint files: written in one piece, read as data and checked before anything is built from them."""
