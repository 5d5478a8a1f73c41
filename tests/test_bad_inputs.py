"""Bad configurations are refused with one line that names the key, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bad_inputs
import pytest
import tiny
from bad_inputs import OF_STRATEGIES, OF_STREAMS, OUT_OF_RANGE, Bad

from mergan.cli import messages
from mergan.run import experiment


def refusal(cache_dir: Path, folder: Path, overrides: Sequence[str]) -> str:
    """The line that train.py would end with, built as far as a run is before it begins."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        # of which kind it is is judged below
        experiment.build_experiment(tiny.compose(cache_dir, *overrides), folder)
    line = messages.one_line(caught.value)
    assert messages.status(caught.value) == messages.REFUSED, f"{caught.type.__name__}: {line}"
    assert not folder.exists()
    return line


def test_there_are_many_of_them() -> None:
    bad = [*bad_inputs.wrong_types(), *bad_inputs.typos(), *OUT_OF_RANGE, *OF_STRATEGIES, *OF_STREAMS]
    assert len(set(bad)) == len(bad) >= 400
    assert {case.group for case in bad} == {"", *bad_inputs.GROUPS}


@pytest.mark.parametrize("bad", [*OUT_OF_RANGE, *OF_STRATEGIES, *OF_STREAMS], ids=str)
def test_values_out_of_range(cache_dir: Path, tmp_path: Path, bad: Bad) -> None:
    assert bad.word in refusal(cache_dir, tmp_path / "run", bad.overrides)


@pytest.mark.parametrize("group", ["", *bad_inputs.GROUPS])
@pytest.mark.parametrize("kind", ["wrong_types", "typos"])
def test_every_key_of_every_group(cache_dir: Path, tmp_path: Path, kind: str, group: str) -> None:
    cases = [bad for bad in getattr(bad_inputs, kind)() if bad.group == group]
    assert cases
    for bad in cases:
        line = refusal(cache_dir, tmp_path / "run", bad.overrides)
        assert bad.word in line, f"{bad}: {line}"
