"""The errors that a user can fix, each with its exit status (see docs/ARCHITECTURE.md)."""


class MerganError(Exception):
    """Base of all errors that end the program with one line and without a traceback.

    The message is that line: it names the culprit (a key, a file) and the remedy.
    """

    exit_status = 1


class ConfigError(MerganError):
    """A configuration that cannot be run: unknown, misspelt or out-of-range values."""

    exit_status = 2


class DataError(MerganError):
    """Images that are missing, unreadable or do not fit the configuration."""

    exit_status = 2


class CheckpointError(MerganError):
    """A checkpoint that is missing, broken or belongs to another model."""

    exit_status = 2


class StorageError(MerganError, OSError):
    """A file that cannot be written: a full disk, a missing permission."""

    exit_status = 2


class TrainingError(MerganError):
    """Training went wrong, e.g. a loss became NaN."""

    exit_status = 3


class LostProcessError(MerganError):
    """Of several processes that train one run, one has ended before the others.

    Args:
        message: what is known about it.
        exit_status: the status of the command.
    """

    def __init__(self, message: str, exit_status: int = 3) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def reason(error: Exception) -> str:
    """The first line of a library's error, at most 80 characters, or its type if it has no message."""
    text = str(error).strip()
    return text.splitlines()[0][:80] if text else type(error).__name__
