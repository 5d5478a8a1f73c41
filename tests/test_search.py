"""The search: what is searched, whose a trial is, what comes out, what is refused."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny
import warm
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from mergan.callbacks import pruning
from mergan.run import experiment
from mergan.search import main
from mergan.system import interrupts
from mergan.system.errors import ConfigError
from mergan.system.workers import WorkerDied
from mergan.tuning import pictures, results, running, trial
from mergan.tuning.plan import Plan, key_of, plan
from mergan.tuning.running import Search, TrialError
from mergan.tuning.study import Claim, SharedStudy

SPACE = ["lr=tag(log,interval(1e-4,1e-2))", "batch_size=choice(4,8)"]
PICTURES = {"history.png", "parallel_coordinates.png", "importances.png"}


def typed(cache_dir: Path, folder: Path, *more: str) -> list[str]:
    """The words of a search among tiny runs, for the highest diversity: no two settings share it."""
    own = ["strategy=finetune", "logger.tensorboard=null", "search.metric=diversity", "search.seed=3"]
    base = [*tiny.SETTINGS, *own, f"cache_dir={cache_dir}", f"search.dir={folder}"]
    given = {key_of(word) for word in more}
    return [*(word for word in base if key_of(word) not in given), *more]


@pytest.fixture
def planned(cache_dir: Path, tmp_path: Path) -> Callable[..., Plan]:
    """planned(*SPACE, "search.trials=3"): the plan of such a search."""
    return lambda *more: plan(typed(cache_dir, tmp_path / "search", *more))


Planned = Callable[..., Plan]


class Here:
    """Runs trials in this process, one after another."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future


def search(planned: Plan) -> SharedStudy:
    """Run a search in this process."""
    study = SharedStudy(planned)
    with study.at_work():
        Search(study).run(Here())
    return study


def rows(folder: Path) -> list[dict[str, str]]:
    return tiny.csv_rows(folder, "trials.csv")


def outcomes(folder: Path) -> list[tuple[str, ...]]:
    """What a search has found, without times."""
    kept = ("number", "state", "lr", "batch_size", "diversity", "accuracy", "reverse_accuracy")
    return [tuple(row[key] for key in kept) for row in rows(folder)]


# ---------------------------------------------------------------- what is searched


def test_hydras_grammar_says_what_is_searched(planned: Planned) -> None:
    searched: dict[str, BaseDistribution] = {
        "lr=interval(1,4)": FloatDistribution(1, 4),
        "lr_d=tag(log,interval(1e-4,1e-2))": FloatDistribution(1e-4, 1e-2, log=True),
        "objective.lambda_cls_g=range(1e-3,4e-3,1e-3)": FloatDistribution(1e-3, 3e-3, step=1e-3),
        "embedding_dim=interval(4,16)": IntDistribution(4, 16),  # a key of whole numbers
        "objective.critic_steps=interval(1,3)": IntDistribution(1, 3),  # as its constructor says
        "epochs=int(interval(1,3))": IntDistribution(1, 3),
        "seed=tag(log,int(interval(4,16)))": IntDistribution(4, 16, log=True),
        "batch_size=range(8,2,-2)": IntDistribution(4, 8, step=2),
        "network.generator.width=sort(8,4)": CategoricalDistribution([4, 8]),
        "strategy=glob([ma*,f*],exclude=mas)": CategoricalDistribution(["finetune"]),
        "learner.betas=choice([0.0,0.9],[0.5,0.9])": CategoricalDistribution(["[0.0,0.9]", "[0.5,0.9]"]),
        "data.balance=true,false": CategoricalDistribution([True, False]),
    }
    found = {part.word: part for part in planned(*searched).dimensions}
    assert {word: part.distribution for word, part in found.items()} == searched
    assert [part.name for part in found.values()] == [word.partition("=")[0] for word in searched]


def test_a_trial_gets_plain_words_and_the_best_command_the_test_images(planned: Planned) -> None:
    made = planned(*SPACE, "epochs=choice([1,2],2)", "search.pruning_metric=accuracy")
    values = {"lr": 0.001, "batch_size": 4, "epochs": "[1,2]"}
    words = made.trial(values)
    assert {"lr=0.001", "batch_size=4", "epochs=[1,2]", "evaluation.split=val"} <= set(words)
    assert any(word.startswith("+callbacks.pruning=") and "metric:accuracy" in word for word in words)
    assert set(made.best(values)) < set(words) and "evaluation.split=val" not in made.best(values)
    assert "evaluation.split=val" not in planned(*SPACE, "evaluation.split=test").trial(values)
    assert shlex.split(results.command(made, values))[-1] == "epochs=[1,2]"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ([], "nothing is searched: give a key several values"),
        (["lrr=interval(1,2)"], "unknown key lrr; did you mean lr?"),
        (["lr=interval(2,1)"], "lr=interval(2,1): write interval(LOW,HIGH)"),
        (["lr=interval(1,-1)"], "lr=interval(1,-1): write interval(LOW,HIGH)"),
        (["lr=interval(-1,1)"], "lr=-1.0: use a number above 0"),
        (["lr=tag(log,interval(0,1))"], "lr=tag(log,interval(0,1)): the tag log needs an interval above 0"),
        (["lr=tag(log,choice(1,2))"], "lr=tag(log,choice(1,2)): the tag log needs an interval,"),
        (["lr=tag(x,interval(1,2))"], "lr=tag(x,interval(1,2)): the tag x means nothing to a search"),
        (["lr=shuffle(1,2)"], "lr=shuffle(1,2): a search draws the values itself"),
        (["lr=1,1"], "lr=1,1: 1 stands there twice"),
        (["embedding_dim=range(8,4)"], "embedding_dim=range(8,4): this range holds no value"),
        (["embedding_dim=interval(0,8)"], "embedding_dim=0: use a whole number of 1 or more"),
        (["objective.r1=interval(-1,1)"], "objective.r1=-1: use"),
        (["strategy=finetune,nope"], "Could not find 'strategy/nope'"),
        (["strategy=glob(x*)"], "strategy=glob(x*): no choice of strategy fits"),
        (["lr=1,2", "lr=interval(1,2)"], "lr=interval(1,2): lr is set twice"),
        (["lr=1,2", "resume=auto"], "resume=auto: a search sets this key itself"),
        (["lr=1,2", "hydra.run.dir=x"], "hydra.run.dir=x: a search sets this key itself; search.dir="),
        (["hydra.verbose=true,false"], "hydra.verbose=true,false: this key cannot be searched"),
        (["lr=1,2", "search.trails=3"], "unknown key search.trails; did you mean search.trials?"),
        (["lr=1,2", "search.trials=0"], "search.trials=0: use a whole number of 1 or more"),
        (["lr=1,2", "search.trials=3,4"], "search.trials=3,4: has one value"),
        (["lr=1,2", "search.sampler=x"], "search.sampler=x: Invalid value 'x', expected one of"),
        (["lr=1,2", "search.metric=x"], "search.metric=x: is not measured here; use accuracy, coverage"),
        (["lr=1,2", "search.metric=[]"], "search.metric=[]: use the name of a figure"),
        (["lr=1,2", "search.pruning_metric=forgetting"], "search.pruning_metric=forgetting: is not measured"),
        (["lr=1,2", "search.metric=[fid,kid]", "search.pruning_metric=fid"],
         "search.pruning_metric=fid: trials are stopped early for a single search.metric only"),
        (["lr=1,2", "search.metric=reverse_accuracy", "evaluation.reverse_per_class=0"],
         "search.metric=reverse_accuracy: is not measured here"),
        (["lr=1,2", "-m"], "--multirun: a search takes KEY=VALUE and --config-dir only"),
        (["lr=1,2", "--config-dir=nowhere"], "--config-dir"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(more: list[str], line: str, planned: Planned) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(*more)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_refused_command_leaves_no_folder(
    cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mergan"])
    for more in (["lr=interval(-1,1)"], ["lr=1e-3,1e-4", "search.storage=nope://x"]):
        assert main(typed(cache_dir, tmp_path / "search", *more)) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_without_optuna_the_search_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(sys, "argv", ["mergan"])
    assert main(["lr=1,2"]) == 2
    assert capsys.readouterr().err == "error: a search needs Optuna: pip install 'mergan[search]'\n"


# ---------------------------------------------------------------- whose a trial is


def figure(claim: Claim) -> float:
    """A figure to search for without training."""
    return float(-((claim.values["lr"] - 3e-3) ** 2) - claim.values["batch_size"] / 1e7)


def finish(study: SharedStudy, claim: Claim) -> None:
    study.finish(claim.number, TrialState.COMPLETE, [figure(claim)], figures={}, seconds=0, reason="")


def test_a_search_that_goes_on_proposes_what_an_uninterrupted_one_does(
    planned: Planned, tmp_path: Path
) -> None:
    wanted = [*SPACE, "search.trials=13"]  # beyond those that are drawn at random
    whole, parts = [], []
    study = SharedStudy(planned(*wanted))
    while claim := study.claim():
        whole.append(claim.values)
        finish(study, claim)
    assert len(whole) == 13
    elsewhere = planned(*wanted, f"search.dir={tmp_path / 'parts'}")
    while claim := SharedStudy(elsewhere).claim():
        if claim.number % 3 or claim.again:
            parts.append(claim.values)
            finish(SharedStudy(elsewhere), claim)
    assert parts == whole
    assert SharedStudy(planned(*SPACE, "search.trials=14")).claim() is not None  # more of them


CLAIM_TWO = """
import os, signal, sys
from mergan.tuning.plan import plan
from mergan.tuning.study import SharedStudy
study = SharedStudy(plan(sys.argv[1:]))
with study.at_work():
    print([(claim.number, dict(claim.values)) for claim in (study.claim(), study.claim())], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_trials_of_a_killed_process_go_on_and_those_of_a_living_one_are_left_alone(
    planned: Planned, cache_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.py").write_text(CLAIM_TWO)
    wanted = [*SPACE, "search.trials=4"]
    killed = warm.run(
        ["two.py", *typed(cache_dir, tmp_path / "search", *wanted)], tmp_path, {"PYTHONPATH": str(tiny.ROOT)}
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    study, other = SharedStudy(planned(*wanted)), SharedStudy(planned(*wanted))
    with study.at_work(), other.at_work():
        claims = [study.claim(), other.claim(), study.claim(), other.claim()]
        assert f"{[(claim.number, dict(claim.values)) for claim in claims[:2] if claim]}\n" == killed.stdout
        assert [(claim.number, claim.again) for claim in claims if claim] == [
            (0, True), (1, True), (2, False), (3, False),
        ]  # fmt: skip
        assert study.claim() is None and other.claim() is None
    third = SharedStudy(planned(*wanted))
    assert third.claim() == Claim(0, claims[0].values, again=True)  # type: ignore[union-attr]


def test_another_search_is_not_mixed_with_the_one_that_is_there(planned: Planned, tmp_path: Path) -> None:
    SharedStudy(planned(*SPACE))
    SharedStudy(planned(*SPACE, "search.trials=50", f"cache_dir={tmp_path}"))  # which changes nothing
    for more, was in ((["epochs=3"], "epochs=2"), (["search.metric=fid"], "diversity")):
        with pytest.raises(ConfigError, match=f"holds a search with other words .*{was}"):
            SharedStudy(planned(*SPACE, *more))
    database = f"search.storage=sqlite:///{tmp_path / 'all.db'}"  # which may hold several
    first = SharedStudy(planned(*SPACE, database)).claim()
    second = SharedStudy(planned("lr=1e-3,1e-2", database, "search.name=second")).claim()
    assert first is not None and second is not None and (first.number, second.number) == (0, 0)


def test_a_journal_that_was_cut_short_goes_on_and_another_file_is_left_alone(
    planned: Planned, tmp_path: Path
) -> None:
    made = planned(*SPACE)
    first = SharedStudy(made).claim()
    with (made.folder / "journal.log").open("a") as file:
        file.write('{"op_code":4,"worker')  # the machine failed here
    assert first is not None and SharedStudy(made).claim() == Claim(0, first.values, again=True)
    (tmp_path / "notes").write_text("my notes")
    with pytest.raises(ConfigError, match="is not a journal of Optuna; name another file"):
        SharedStudy(planned(*SPACE, f"search.storage={tmp_path / 'notes'}"))
    assert (tmp_path / "notes").read_text() == "my notes"


# ---------------------------------------------------------------- trials and results


def test_a_search_ends_with_a_table_pictures_and_the_best_command(planned: Planned, tmp_path: Path) -> None:
    made = planned(*SPACE, "search.trials=2")
    said = results.finish(search(made))
    found = rows(made.folder)
    assert [(row["number"], row["state"], row["folder"]) for row in found] == [
        (str(number), "finished", f"trial_00{number}") for number in range(2)
    ]
    assert {path.name for path in made.folder.glob("*.png")} == PICTURES
    best = max(found, key=lambda row: float(row["diversity"]))
    command = (made.folder / "best_command.txt").read_text().splitlines()
    assert command[0] == f"# trial {best['number']}" and command[1] in said
    assert f"lr={best['lr']}" in shlex.split(command[1])
    figures = tiny.csv_rows(made.folder / f"trial_00{best['number']}", "diversity_matrix.csv")
    assert len(figures) == 2 and best["evaluation_split"] == "val"
    before = outcomes(made.folder)
    search(planned(*SPACE, "search.trials=3"))  # goes on with what is there
    assert outcomes(made.folder)[:2] == before and len(rows(made.folder)) == 3


def test_the_table_of_many_long_keys_fits_its_width(planned: Planned) -> None:
    keys = ["network.generator.width", "network.discriminator.width", "learner.log_every_n_steps",
            "callbacks.samples.columns", "evaluation.samples_per_class", "evaluation.classifier_steps",
            "data.source.train_per_class"]  # fmt: skip
    study = SharedStudy(planned(*(f"{key}=choice(4,8)" for key in keys)))
    for _ in range(2):
        claim = study.claim()
        assert claim is not None
        study.finish(
            claim.number, TrialState.COMPLETE, [1.0], figures={"diversity": 1.0}, seconds=3, reason=""
        )
    text = results.table(study)
    assert max(map(len, text.splitlines())) <= results.WIDTH
    assert "more keys in trials.csv)" in text and "diversity" in text


def test_several_figures_give_a_front(planned: Planned) -> None:
    made = planned(*SPACE, "search.trials=2", "search.metric=[diversity,train_seconds]")
    assert made.pruning is None
    study = search(made)
    results.finish(study)
    front = results.best(study)
    text = (made.folder / "best_command.txt").read_text()
    assert text.count("# trial") == len(front) >= 1
    for one in front:  # no other trial is at least as good in both
        assert not any(
            other.values[0] > one.values[0] and other.values[1] < one.values[1] for other in study.trials()
        )
    drawn = {path.name for path in made.folder.glob("*.png")}
    assert {"pareto_front.png", "history_diversity.png", "parallel_coordinates_train_seconds.png"} <= drawn


def test_a_bad_trial_is_stopped_after_a_task(planned: Planned) -> None:
    made = planned(*SPACE, "search.trials=6", "search.pruning_metric=diversity")
    study = SharedStudy(made)
    for _ in range(5):  # finished trials that none can match
        claim = study.claim()
        assert claim is not None
        reporter = trial.Reporter(made.storage, "search", claim.number, maximised=True, higher=True)
        assert not reporter(0, 1e6) and not reporter(1, 1e6)
        finish(study, claim)
    Search(study).run(Here())
    last = rows(made.folder)[-1]
    assert last["state"] == "stopped early" and last["reason"].startswith("diversity ")
    assert "after task 1 is worse than the median" in last["reason"]
    assert not (made.folder / "trial_005" / "checkpoints" / "task_01.ckpt").exists()
    assert study.claim() is None


@pytest.mark.parametrize(
    ("higher", "maximised", "stops"),
    [(True, True, True), (True, False, True)],
)
def test_a_trial_is_judged_against_the_others_after_the_same_task(
    higher: bool, maximised: bool, stops: bool, planned: Planned
) -> None:
    made = planned(*SPACE, f"search.metric={'diversity' if maximised else 'fid'}")
    study = SharedStudy(made)
    for number in range(5):
        claim = study.claim()
        assert claim is not None
        for task, value in enumerate((9.0, number)):
            trial.Reporter(made.storage, "search", claim.number, maximised, higher)(task, value)
        finish(study, claim)
    claim = study.claim()
    assert claim is not None
    report = trial.Reporter(made.storage, "search", claim.number, maximised, higher)
    assert not report(0, 9.0)
    assert report(1, 1.5) is stops  # although its first value is the best


def test_a_trial_that_is_trained_by_hand_is_judged_by_nobody(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    callback = "+callbacks.pruning={_target_:mergan.callbacks.pruning.Pruning,metric:diversity}"
    cfg = compose("strategy=finetune", callback)
    with pruning.judged_by(lambda task, value: True), pytest.raises(pruning.Pruned, match="after task 1"):
        experiment.run(cfg, tmp_path / "judged")
    assert "diversity" in experiment.run(cfg, tmp_path / "by_hand")


POISON = "strategy._target_=choice(mergan.strategies.finetune.Finetune,tiny.PoisonedFinetune)"


def test_a_failed_trial_says_why_and_the_search_goes_on(planned: Planned) -> None:
    made = planned(POISON, "search.trials=4", "search.sampler=random", "search.seed=1")
    search(made)
    found = {row["strategy._target_"].rpartition(".")[2]: row for row in rows(made.folder)}
    assert set(found) == {"Finetune", "PoisonedFinetune"}
    assert found["Finetune"]["state"] == "finished" and "reason" not in found["Finetune"]
    assert found["PoisonedFinetune"]["state"] == "failed"
    assert found["PoisonedFinetune"]["reason"].startswith("g/poison is nan in task 1")


class Dying:
    """Loses the process of every trial."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(WorkerDied("its process was killed (SIGKILL(-9))"))
        return future


def test_a_trial_whose_process_dies_again_and_again_fails(planned: Planned) -> None:
    made = planned(*SPACE, "search.trials=1")
    study = SharedStudy(made)
    Search(study).run(Dying())
    (row,) = rows(made.folder)
    assert (row["state"], row["reason"]) == ("failed", "its process was killed (SIGKILL(-9))")


# ---------------------------------------------------------------- as a command


def command(cache_dir: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a search as a command, with one thread per trial."""
    words = typed(cache_dir, folder, *SPACE, "epochs=2", "search.pruning_metric=null", *more)
    path = os.pathsep.join([str(tiny.ROOT), str(tiny.ROOT / "tests")])
    return warm.run(["-m", "mergan.search", *words], folder.parent, {"PYTHONPATH": path})


def test_a_killed_search_goes_on_to_the_bit(planned: Planned, cache_dir: Path, tmp_path: Path) -> None:
    """Killed while a trial is in the middle of its second task; two trials at once before, one after."""
    killer = f"run:trial_002,epoch:3,marker:'{tmp_path / 'killed'}'"
    wanted = [f"+callbacks.kill={{_target_:tiny.KillParentAt,{killer}}}", "search.trials=4"]
    killed = command(cache_dir, tmp_path / "killed_search", *wanted, "search.jobs=2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = command(cache_dir, tmp_path / "killed_search", *wanted)
    assert again.returncode == 0 and again.stderr == "", again.stderr
    assert "trial 2: goes on" in again.stdout and "4 trials: 4 finished" in again.stdout
    log = (tmp_path / "killed_search" / "trial_002" / trial.LOG).read_text()
    assert "going on at task 2/2, epoch 2/2" in log
    whole = planned(*SPACE, "epochs=2", "search.pruning_metric=null", *wanted)
    search(whole)
    assert outcomes(tmp_path / "killed_search") == outcomes(whole.folder)


def test_ctrl_c_says_how_to_go_on(
    cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = typed(cache_dir, tmp_path / "a b", *SPACE)
    monkeypatch.setattr(sys, "argv", ["mergan"])

    def press() -> None:
        while not (tmp_path / "a b" / "trial_000").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with interrupts.handled():
        assert main(words) == 130
    presser.join()
    said = capsys.readouterr().err
    begin = "stopped; go on with mergan search "
    assert said.startswith(begin) and said.count("\n") == 1
    again = shlex.split(said.removeprefix(begin))
    assert again[-1] == f"search.dir='{tmp_path / 'a b'}'"  # quoted for Hydra too
    assert sorted(again[:-1]) == sorted(word for word in words if not word.startswith("search.dir="))


def test_a_search_of_which_nothing_comes_has_the_status_of_its_first_failure(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned("strategy._target_=choice(tiny.PoisonedFinetune)", "search.trials=1")
    search(made)
    with pytest.raises(TrialError, match="all trials failed, the first with: g/poison is nan") as caught:
        running.search(made, "mergan search", [])
    assert caught.value.exit_status == 3


def test_the_setting_that_decides_is_the_important_one() -> None:
    study, rates, lengths = optuna.create_study(), [1e-4, 1e-3, 1e-2], [3, 5, 10]
    choices = {"lr": CategoricalDistribution(rates), "epochs": CategoricalDistribution(lengths)}
    for number in range(9):
        given = {"lr": rates[number % 3], "epochs": lengths[number // 3]}
        trial = optuna.trial.create_trial(params=given, distributions=choices, value=100 * given["lr"])
        study.add_trial(trial)
    found = optuna.importance.get_param_importances(study, evaluator=pictures.fanova())
    assert found["lr"] > 0.9
