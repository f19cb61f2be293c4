"""Episodes from the first screen to the value: journals, faults of desktops, and what other desktops may not change."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval.agent import episodes
from kvl_eval.agent.actions import ScreenSize
from kvl_eval.agent.desk import ActResult, DrawnDesk, desktop_died, evaluator_failed
from kvl_eval.agent.episode_plan import EpisodePlan, step_seed
from kvl_eval.agent.kimi import KIMI
from kvl_eval.agent.one_click import ONE_CLICK
from kvl_eval.agent.player import EpisodePlayer
from kvl_eval.agent.protocols import agents_of
from kvl_eval.backends.base import Request, Settings
from kvl_eval.backends.fake import AnswerOf, FakeBackend
from kvl_eval.errors import DataError, StorageError
from kvl_eval.store.journal import Disk, storing
from kvl_eval.store.trajectories import read_trajectory, trajectory_name, trajectory_path
from kvl_eval.tasks.desktop_mini import EPISODE
from kvl_eval.types import Completion
from tests.agent.stub_desks import SAMPLES, FaultyDesk, good_click, plan_of

TIMES = {"time", "started_at", "crc"}


class Killed(Exception):
    """The end of a process, as far as its files can tell."""


BOARDS = [name for name, sample in SAMPLES.items() if sample.row["feasible"]]


def play(
    plan: EpisodePlan,
    names: Iterable[str],
    answer: AnswerOf = good_click,
    desktops: int = 3,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Completion]:
    """{sample id: what the run would store}."""
    results: dict[str, Completion] = {}

    def finish(player: EpisodePlayer, completion: Completion) -> None:
        results[player.sample.id] = completion

    players = (EpisodePlayer(plan, SAMPLES[name], 0) for name in names)
    asyncio.run(episodes.play(players, FakeBackend(answer=answer), desktops, finish, stopping))
    return results


def lines(plan: EpisodePlan, name: str, file: str = "0.jsonl") -> list[dict[str, Any]]:
    """The lines of a journal without times."""
    path = trajectory_path(plan.run, trajectory_name(plan.task.name, name, 0)).with_name(file)
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMES}
        for line in path.read_bytes().splitlines()
    ]


def values(results: dict[str, Completion]) -> dict[str, str]:
    return {name: result.answer or str(result.reason) for name, result in results.items()}


def test_an_episode_is_a_result_and_a_journal(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ONE_CLICK)
    result = play(plan, ["board-7"])["board-7"]
    assert (result.status, result.answer, result.finish_reason) == ("ok", "1.0 DONE 2 steps", "stop")
    assert result.extra["trajectory"] == "trajectories/desktop-mini/board-7/0.jsonl"
    assert [action["kind"] for action in json.loads(result.raw_output)] == ["click", "click"]
    trajectory = read_trajectory(trajectory_path(tmp_path, str(result.extra["trajectory"])))
    assert trajectory.head.instruction == SAMPLES["board-7"].question
    assert (trajectory.head.agent, trajectory.head.screen) == ("one-click", EPISODE.screen)
    assert [step.n for step in trajectory.steps] == [1, 2]
    assert trajectory.outcome is not None
    assert (trajectory.outcome.value, trajectory.outcome.ended_by, trajectory.outcome.steps) == (1.0, "done", 2)
    assert [check.found for check in trajectory.outcome.evaluator] == ["hit hit"]
    shown = [step.screenshot_sha256 for step in trajectory.steps] + [trajectory.outcome.screenshot_sha256]
    assert {f"{sha256}.png" for sha256 in shown} == set(os.listdir(tmp_path / "media"))
    assert [info.sha256 for info in result.media] == [shown[0], shown[-1]]


def test_a_good_model_solves_every_board_and_nothing_that_is_infeasible(tmp_path: Path) -> None:
    results = play(plan_of(tmp_path, ONE_CLICK), SAMPLES)
    assert {name for name, result in results.items() if result.answer.startswith("1.0 ")} == set(BOARDS)


def test_scripted_agents_play_without_a_model(tmp_path: Path) -> None:
    def no_model(request: Request, repeat: int) -> str:
        raise AssertionError("nothing is to be asked")

    plan = plan_of(tmp_path, agents_of(EPISODE)["oracle"])
    results = play(plan, SAMPLES, no_model)
    assert all(result.answer.startswith("1.0 ") for result in results.values())
    assert lines(plan, "missing-1")[-1]["ended_by"] == "fail"


@pytest.mark.parametrize("desktops", [1, 2, 15])
def test_any_number_of_desktops_gives_the_same(tmp_path: Path, desktops: int) -> None:
    three, other = (plan_of(tmp_path / name, ONE_CLICK) for name in ("three", "other"))
    assert values(play(three, SAMPLES)) == values(play(other, SAMPLES, desktops=desktops))
    for name in SAMPLES:
        assert lines(three, name) == lines(other, name)


def test_A1_an_abandoned_episode_starts_again_at_its_first_step(tmp_path: Path) -> None:
    """What a killed process leaves is kept under another name; the results are those of an undisturbed run."""
    whole, cut = plan_of(tmp_path / "whole", ONE_CLICK), plan_of(tmp_path / "cut", ONE_CLICK)
    asked: list[str] = []

    def dies(request: Request, repeat: int) -> str:
        asked.append(request.key)
        if request.key.endswith("#2"):
            raise Killed
        return good_click(request, repeat)

    undisturbed = play(whole, BOARDS[-3:])
    with pytest.raises(Killed):
        play(cut, BOARDS[-3:], dies)
    left = {name: lines(cut, name) for name in BOARDS[-3:]}
    assert max(map(len, left.values())) == 2
    assert all("ended_by" not in journal[-1] for journal in left.values())
    assert read_trajectory(trajectory_path(cut.run, trajectory_name("desktop-mini", BOARDS[-1], 0))).outcome is None
    assert values(play(cut, BOARDS[-3:])) == values(undisturbed)
    for name in BOARDS[-3:]:
        assert lines(cut, name) == lines(whole, name)
        assert lines(cut, name, "0.1.jsonl") == left[name]


def faulty(plan: EpisodePlan, **faults: Any) -> tuple[EpisodePlan, list[FaultyDesk]]:
    """The plan with desktops that fail at `board-8`, and those desktops."""
    desks: list[FaultyDesk] = []

    def make(_: object) -> DrawnDesk:
        desks.append(FaultyDesk(ScreenSize(*EPISODE.screen), victim="board-8", **faults))
        return desks[-1]

    return replace(plan, make_desk=make), desks


def dead() -> Any:
    raise desktop_died("it is gone")


def broken() -> Any:
    raise evaluator_failed("the file is missing")


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        pytest.param({"on_act": dead}, "desktop_died", id="in-a-step"),
        pytest.param({"on_act": lambda: 1 // 0}, "desktop_died", id="by-an-exception"),
        pytest.param({"on_evaluate": dead}, "evaluator_error", id="in-an-evaluation"),
        pytest.param({"on_evaluate": broken}, "evaluator_error", id="of-the-evaluator"),
    ],
)
def test_A2_a_dead_desktop_costs_its_own_episode(tmp_path: Path, faults: dict[str, Any], reason: str) -> None:
    plan, _ = faulty(plan_of(tmp_path, ONE_CLICK), **faults)
    results = play(plan, BOARDS)
    failed = results.pop("board-8")
    assert (failed.status, failed.reason) == ("failed", reason)
    assert all(result.answer.startswith("1.0 ") for result in results.values())
    outcome = lines(plan, "board-8")[-1]
    assert outcome["value"] is None
    if reason == "desktop_died":
        assert outcome["ended_by"] == "desktop_died" and not outcome["evaluator"]
    else:
        assert outcome["ended_by"] == "done" and outcome["evaluator"][0]["error"]


def test_A6_a_refused_action_is_recorded_and_never_repeated(tmp_path: Path) -> None:
    refused = ActResult(code=500, stderr="Internal Server Error")
    plan, desks = faulty(plan_of(tmp_path, ONE_CLICK), on_act=lambda: refused)
    result = play(plan, ["board-8"])["board-8"]
    assert result.answer == f"0.0 MAX_STEPS {EPISODE.max_steps} steps" and result.finish_reason == "length"
    assert len(desks[0].acted) == EPISODE.max_steps
    steps = lines(plan, "board-8")[1:-1]
    assert [step["result"] for step in steps] == [{"code": 500, "stderr": "Internal Server Error"}] * len(steps)


def test_a_setup_that_fails_is_no_zero(tmp_path: Path) -> None:
    plan, _ = faulty(plan_of(tmp_path, ONE_CLICK))
    empty = replace(SAMPLES["board-1"], media=())
    results: list[Completion] = []
    player = EpisodePlayer(plan, empty, 0)
    asyncio.run(episodes.play(iter([player]), FakeBackend(), 1, lambda _, result: results.append(result)))
    assert [(result.status, result.reason) for result in results] == [("failed", "setup_failed")]
    assert lines(plan, "board-1")[-1]["ended_by"] == "setup_failed"


def test_A10_a_full_disk_while_a_screen_is_written_stops_the_run(tmp_path: Path) -> None:
    class Full(Disk):
        def replace(self, path: Path, chunks: Iterable[bytes]) -> None:
            with storing(path):
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError) as caught:
        play(plan_of(tmp_path, ONE_CLICK, disk=Full()), BOARDS)
    assert (caught.value.code, caught.value.exit_code) == ("storage.full", 6)
    assert values(play(plan_of(tmp_path, ONE_CLICK), BOARDS[:1])) == {BOARDS[0]: "1.0 DONE 1 steps"}


def test_a_model_that_fails_leaves_no_outcome(tmp_path: Path) -> None:
    plan, results = plan_of(tmp_path, ONE_CLICK), dict[str, Completion]()
    players = (EpisodePlayer(plan, SAMPLES[name], 0) for name in BOARDS[:2])
    backend = FakeBackend(Settings.of(model_args={"fail": "oom:1"}), answer=good_click)
    asyncio.run(episodes.play(players, backend, 2, lambda player, result: results.update({player.sample.id: result})))
    assert values(results) == {BOARDS[0]: "oom", BOARDS[1]: "1.0 DONE 1 steps"}
    assert [set(line) & {"ended_by", "n"} for line in lines(plan, BOARDS[0])] == [set()]


# -- agents that are asked again ------------------------------------------------------------------------------------


def kimi_reply(code: str) -> str:
    return f"## Action:\nDo it.\n## Code:\n```python\n{code}\n```"


def test_an_unreadable_reply_is_asked_for_again_and_then_fails(tmp_path: Path) -> None:
    requests: list[Request] = []

    def unreadable(request: Request, repeat: int) -> str:
        requests.append(request)
        return "no code"

    plan = plan_of(tmp_path, KIMI)
    results = play(plan, ["board-1", "missing-1"], unreadable, desktops=1)
    assert values(results) == {
        "board-1": "0.0 UNPARSABLE 0 steps, 5 unparsable",
        "missing-1": "1.0 UNPARSABLE 0 steps, 5 unparsable",
    }
    assert len(requests) == 2 * KIMI.attempts
    assert len({request.seeds for request in requests}) == len(requests)
    assert [request.generation.temperature for request in requests[:5]] == [0.0, 0.2, 0.2, 0.2, 0.2]
    journal = lines(plan, "board-1")
    assert [(step["parse"], step.get("attempt", 1)) for step in journal[1:-1]] == [
        ("unparsable", number) for number in range(1, 6)
    ]


def test_a_step_that_is_not_replayed_has_no_effect(tmp_path: Path) -> None:
    codes = ["import os; os.remove('x')", "pyautogui.click(x=0.5, y=0.5)"]

    def reply(request: Request, repeat: int) -> str:
        return kimi_reply(codes[int(request.key.rpartition("#")[2]) - 1])

    plan = plan_of(tmp_path, KIMI)
    play(plan, ["board-1"], reply)
    first, second = lines(plan, "board-1")[1:-1]
    assert (first["parse"], first["actions"], first["source"]) == ("unsupported", [], codes[0])
    assert first["screenshot_sha256"] == second["screenshot_sha256"]
    assert second["actions"] == [{"kind": "click", "point": [84, 70], "button": "left", "count": 1}]


@pytest.mark.parametrize("code", ["computer.terminate(status='success')", "computer.wait()"])
def test_kimi_fails_at_its_last_step_whatever_it_says(tmp_path: Path, code: str) -> None:
    def reply(request: Request, repeat: int) -> str:
        return kimi_reply(code if request.key.endswith("#3") else "computer.wait()")

    plan = plan_of(tmp_path, KIMI, episode=replace(EPISODE, max_steps=3))
    results = play(plan, ["missing-1"], reply)
    assert values(results) == {"missing-1": "1.0 MAX_STEPS 3 steps"}
    assert lines(plan, "missing-1")[3]["actions"] == [{"kind": "fail"}]


def test_seeds_depend_on_step_and_attempt() -> None:
    seeds = [step_seed(seed, number, attempt) for seed in (1, 2) for number in (1, 2) for attempt in (1, 2)]
    assert len(set(seeds)) == 8 and all(0 <= seed < 2**53 for seed in seeds)
    assert step_seed(5, 1, 1) == step_seed(5, 1, 1)


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ONE_CLICK)
    play(plan, ["board-1"])
    path = trajectory_path(tmp_path, trajectory_name("desktop-mini", "board-1", 0))
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"n":1', b'"n":7'))
    with pytest.raises(DataError) as caught:
        read_trajectory(path)
    assert caught.value.code == "run.trajectory" and str(caught.value.where).endswith("line 2")
    path.write_bytes(data[:-10])
    assert read_trajectory(path).outcome is None


@pytest.mark.parametrize("name", ["..", "../x", "/abs", "a/b", "CON", ".hidden", "n" * 5000, "\x00", "\ud800"])
def test_journals_stay_in_the_run_folder(tmp_path: Path, name: str) -> None:
    path = trajectory_path(tmp_path, trajectory_name(name, name, 0))
    assert path.resolve().is_relative_to(tmp_path / "trajectories")
    with pytest.raises(StorageError):
        trajectory_path(tmp_path, f"trajectories/{name}/../../../x")
