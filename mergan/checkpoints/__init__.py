"""Checkpoint files: written atomically, read as data, and checked before anything is built from them."""
