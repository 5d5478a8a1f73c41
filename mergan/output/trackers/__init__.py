"""Trackers: loggers that keep the runs of many folders together, in a database or on a server.

To add your own, subclass `Tracker` in any importable file, and set it as the `_target_` of a key under
`logger`.
"""

from mergan.output.trackers.base import Status, Tracker

__all__ = ["Status", "Tracker"]
