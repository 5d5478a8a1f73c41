"""The loggers of a run folder; configurations name them here.

When a run resumes, both continue from the step of the checkpoint. After a failed write neither writes again:
text after half a line would be taken for a part of that line.
"""

from mergan.output.csv_log import CSVLog
from mergan.output.event_log import EventLog

__all__ = ["CSVLog", "EventLog"]
