"""The torture's own tools: what alters, strikes and judges must do so."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from torture import doors, soak, zips
from torture.sandbox import RAN, SECRET, Sandbox
from torture.strike import Blow
from torture.structure import Alteration

CONTENT: dict[str, Any] = {
    "epoch": 0,
    "state_dict": {"generator.weight": torch.ones(2, 3), "generator.bias": torch.zeros(3)},
    "loops": {"total": {"ready": 2}},
    "optimizer_states": [{"lr": 0.1}],
    "callbacks": {},
    "mergan": {
        "class_names": ["a", "b"],
        "config": {"cache_dir": "cache", "network": {"generator": {"_target_": "x.Y", "width": 4}}},
    },
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    (tmp_path / "template" / "cache").mkdir(parents=True)
    (tmp_path / "template" / "given" / "checkpoints").mkdir(parents=True)
    made = Sandbox(tmp_path / "sandbox", tmp_path / "template")
    made.renew()
    return made


def test_the_archive_that_is_taken_apart_and_put_together_is_a_checkpoint() -> None:
    file = zips.archive(zips.entries(zips.saved(CONTENT)))
    assert tiny.equal(torch.load(io.BytesIO(file), weights_only=True), CONTENT)


def test_a_bomb_is_small_and_inflates() -> None:
    file = zips.archive([zips.zeros("a", 64 * 2**20)])
    assert len(file) < 2**17
    with zipfile.ZipFile(io.BytesIO(file)) as archive, archive.open("a") as entry:
        assert archive.infolist()[0].file_size == 64 * 2**20
        assert entry.read(2**21) == bytes(2**21)


def test_every_kind_of_alteration_is_made_and_alters(sandbox: Sandbox) -> None:
    listed = doors.catalogue(CONTENT)
    assert {*(alteration.kind for alteration in listed.values())} >= {
        "removed", "other type", "tensor", "number", "target", "node", "interpolation", "place", "value",
        "names", "pickle", "archive", "bomb", "bytes",
    }  # fmt: skip
    assert listed.keys() == doors.catalogue(CONTENT).keys()
    removed = listed["removed: loops.total.ready"].make(json_copy(), sandbox)
    assert removed["loops"] == {"total": {}}  # type: ignore[index]
    hostile = listed["target: network.generator = os.system, whole"].make(json_copy(), sandbox)
    node = hostile["mergan"]["config"]["network"]["generator"]  # type: ignore[index]
    assert node["_target_"] == "os.system" and node["_args_"] == [f"touch {sandbox.canary / RAN}"]


def json_copy() -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps({**CONTENT, "state_dict": {}}))
    return copied


def test_what_a_command_does_that_it_should_not_is_noticed(sandbox: Sandbox) -> None:
    harmless, strict = (Alteration("kind", "name", lambda own, _: own, refused=strict) for strict in (0, 1))
    before = sandbox.look()
    refused = doors.Ended(2, "", "error: x\n", 0.1, 0, hung=False)
    assert doors.judged("sample", harmless, refused, sandbox, before) == []
    for ended, word in (
        (doors.Ended(1, "", "Traceback ...\n", 0.1, 0, hung=False), "traceback"),
        (doors.Ended(2, "", "error: x\nmore\n", 0.1, 0, hung=False), "2 lines"),
        (doors.Ended(2, "", "error: \x1b[2J\n", 0.1, 0, hung=False), "control"),
        (doors.Ended(2, "", f"error: {SECRET}\n", 0.1, 0, hung=False), "interpolated"),
        (doors.Ended(2, "", "error: x\n", 0.1, 2**31, hung=False), "MiB"),
        (doors.Ended(-9, "", "", 9.0, 0, hung=True), "no end"),
    ):
        assert any(word in reason for reason in doors.judged("sample", harmless, ended, sandbox, before))
    (sandbox.root / "out" / "a.npz").touch()
    used = doors.Ended(0, "", "", 0.1, 0, hung=False)
    assert doors.judged("sample", harmless, used, sandbox, before) == []
    assert doors.judged("sample", strict, used, sandbox, before) == ["accepted"]
    assert doors.judged("sample", harmless, refused, sandbox, before) == ["touched out/a.npz"]
    (sandbox.canary / RAN).touch()
    assert "RAN CODE" in doors.judged("sample", harmless, used, sandbox, before)


SCRIPT = """
import os, sys
from pathlib import Path
target, temporary = Path("target"), Path("temporary")
for text in ("first", "second"):
    temporary.write_text(text)
    os.replace(temporary, target)
print("to the end")
"""


@pytest.mark.parametrize(
    ("blow", "status", "target", "temporary"),
    [
        (Blow("rename", "/?target$", 2), -signal.SIGKILL, "first", "second"),
        (Blow("rename", "/?target$", 2, action="half"), -signal.SIGKILL, "first", "sec"),
        (Blow("rename", "/?target$", after=True), -signal.SIGKILL, "first", None),
        (Blow("write", "temporary$", 2, action="refuse"), 1, "first", None),
        (Blow("append", "target$"), 0, "second", None),
    ],
)
def test_blows_fall_where_they_should(
    tmp_path: Path, blow: Blow, status: int, target: str, temporary: str | None
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = blow.command("script.py")
    environment = {"PYTHONPATH": str(tiny.ROOT), "PATH": ""}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert ended.returncode == status
    assert (tmp_path / "target").read_text() == target
    left = tmp_path / "temporary"
    assert (left.read_text() if left.exists() else None) == temporary


@pytest.mark.parametrize(("files", "lost"), [([4, 4, 5, 4, 5, 5, 4, 5], 0), ([4, 5, 4, 5, 5, 6, 6, 6], 1)])
def test_the_soak_finds_files_left_open_and_forgives_those_open_for_a_moment(
    files: list[float], lost: int
) -> None:
    assert soak.flat("open files", files, min).lost == lost
