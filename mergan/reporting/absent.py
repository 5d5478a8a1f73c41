"""Why pictures are absent: a line per reason, whatever the number of runs."""

from __future__ import annotations

from collections.abc import Sequence

from mergan.reporting.page import Section

MOST_NAMED = 3  # runs in a line


class Absent:
    """Gathers reasons, and writes them into the sections that lack pictures."""

    def __init__(self) -> None:
        self._labels: dict[tuple[int, str], list[str]] = {}
        self._sections: dict[int, Section] = {}

    def note(self, why: str, label: str, sections: Sequence[Section]) -> None:
        """Note why the pictures of a run are absent from some sections."""
        for section in sections:
            self._sections[id(section)] = section
            self._labels.setdefault((id(section), why), []).append(label)

    def write(self) -> None:
        """Write the lines."""
        for (section, why), labels in self._labels.items():
            more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
            self._sections[section].remarks.append(
                f"Absent for {'; '.join(labels[:MOST_NAMED])}{more}: {why}."
            )
