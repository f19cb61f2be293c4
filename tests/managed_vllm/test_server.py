"""`--backend vllm` over a stand-in: found, started, waited for, asked, restarted once, and ended whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvl_eval.backends import MODELS, make_backend
from kvl_eval.backends.base import Settings
from kvl_eval.backends.managed_vllm import LOG
from kvl_eval.backends.vllm_host import SERVED_NAME
from kvl_eval.backends.vllm_installation import VARIABLE, find_installation
from kvl_eval.backends.vllm_server import start_failure
from kvl_eval.doctor.examining import examine
from kvl_eval.errors import ConfigError, EndpointError, UsageError
from kvl_eval.model.kimi_vl.vllm_export import CLASSES, export_for_vllm, link_for_vllm
from kvl_eval.run.config import from_json, resolve
from kvl_eval.run.contacts import contacts_of
from kvl_eval.run.plan import Plan, plan_run
from kvl_eval.run.plan_text import plan_notes
from kvl_eval.run.runner import RunOutcome, resume_run, start_run
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.trust import AddressPlace
from tests.faults import children
from tests.faults.server_runs import check, words
from tests.managed_vllm.conftest import PATIENCE, StandIn, environment, is_running, standing_in
from tests.processes import closed_after

N = 6
ARGS = {"vllm_args": "--block-size 32"}


def only_run(output_dir: Path) -> Path:
    [path] = [path for path in output_dir.iterdir() if path.is_dir()]
    return path


def value_of(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@dataclass(frozen=True)
class Finished:
    """A run that ended well, its plan, and what was started for it."""

    outcome: RunOutcome
    plan: Plan
    stand_in: StandIn

    @property
    def words(self) -> list[str]:
        [start] = self.stand_in.starts()
        return list(start["words"])


@pytest.fixture(scope="module")
def finished(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    with standing_in(tmp_path_factory.mktemp("finished"), checkpoint) as stand_in:
        config = stand_in.config(stand_in.notes.parent / "results", N, seed=7, model_args=ARGS)
        backend = stand_in.backend(config)
        plan = plan_run(config, backend, [words(N)])
        yield Finished(start_run(plan, backend), plan, stand_in)


def test_a_run_starts_its_server_with_what_the_plan_needs_and_ends_it(finished: Finished, checkpoint: Path) -> None:
    outcome, options = finished.outcome, finished.words
    assert outcome.exit_code == 0
    check(outcome, N)
    finished.stand_in.check_gone()
    assert options[1:3] == ["serve", str(checkpoint)]
    assert value_of(options, "--served-model-name") == SERVED_NAME and value_of(options, "--host") == "127.0.0.1"
    assert value_of(options, "--dtype") == "float32" and value_of(options, "--seed") == "7"
    assert json.loads(value_of(options, "--limit-mm-per-prompt")) == {"image": 1}
    assert value_of(options, "--block-size") == "32"
    assert "--trust-remote-code" not in options and "--api-key" not in options
    assert "the stand-in is up" in (outcome.folder.path / LOG).read_text()
    assert {record.worker for record in outcome.folder.records("tiny")} == {"vllm"}


def test_version_and_options_identify_a_run_and_port_and_key_appear_nowhere(finished: Finished) -> None:
    folder, plan = finished.outcome.folder.path, finished.plan
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["identity"]["model"]["vllm"] == "0.32.0+cpu"
    assert manifest["identity"]["model"]["vllm_options"][-2:] == ["--block-size", "32"]
    assert "--max-num-seqs" in manifest["model"]["server_options"]
    text = "vLLM 0.32.0+cpu runs as a server on 127.0.0.1 and ends with the run"
    assert text in [note.text for note in plan_notes(plan)]
    port, key = value_of(finished.words, "--port"), finished.stand_in.starts()[0]["key"]
    stored = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not any(key in text or f":{port}" in text for text in stored)
    assert key not in " ".join(finished.words) and len(key) > 30
    other = finished.stand_in.config(folder.parent, N, seed=7)
    assert plan_run(other, finished.stand_in.backend(other), [words(N)]).fingerprint != plan.fingerprint


def test_the_backend_that_a_run_began_with_is_stored(finished: Finished) -> None:
    stored = finished.outcome.folder.manifest.config
    assert from_json(stored).settings.cluster.backend == "vllm"
    assert from_json({**stored, "settings": {}}).settings.cluster.backend == "local"  # of earlier versions


def test_arguments_in_a_configuration_file_or_a_run_folder_are_confirmed_as_addresses_are(finished: Finished) -> None:
    for place, allowed in ((AddressPlace.COMMAND_LINE, True), (AddressPlace.CONFIG_FILE, False)):
        [contact] = contacts_of(finished.plan.config, lambda _, place=place: place, [words(N)])
        assert contact.may_be_reached([]) is allowed
    assert contact.confirming == ("--model-args", "vllm_args=--block-size 32")
    plain = finished.stand_in.config(Path("results"), N)
    assert not list(
        contacts_of(plain, lambda _: AddressPlace.RUN_FOLDER, [words(N)])
    )  # an own server needs no question


def test_a_resume_starts_a_new_server_for_what_is_left(finished: Finished, stand_in: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished.outcome.folder.path, path)
    samples = path / "samples" / "tiny.jsonl"
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:2]))
    outcome = resume_run(RunReader.open(path, [words(N)]), stand_in.backend)
    check(outcome, N)
    assert outcome.exit_code == 0 and len(stand_in.starts()) == 1
    stand_in.check_gone()


def test_doctor_waits_for_its_server_before_it_asks_and_counts_it_as_a_server(
    stand_in: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvl_eval.steps")
    config = stand_in.config(tmp_path, N)
    report = examine(config, words(N), stand_in.backend(config), N)
    steps = [record.getMessage() for record in caplog.records]
    assert steps.index("starting vLLM, which takes a minute or more") < steps.index(f"asking {N} samples of tiny")
    (template,) = [check for check in report.checks if check.name == "template"]
    assert "no server" not in template.text
    assert len(stand_in.starts()) == 1
    stand_in.check_gone()


def test_a_server_that_dies_is_started_once_more(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "die-once:3")
    outcome = stand_in.run(tmp_path / "results", N)
    assert outcome.exit_code == 0 and len(stand_in.starts()) == 2
    check(outcome, N)
    stand_in.check_gone()


@pytest.mark.slow
def test_a_second_death_fails_the_samples_that_are_left(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "die:3")
    outcome = stand_in.run(tmp_path / "results", N)
    assert outcome.exit_code == 3 and len(stand_in.starts()) == 2
    records = list(outcome.folder.records("tiny"))
    assert [record.status for record in records].count("ok") == 4
    assert {record.reason for record in records if record.status == "failed"} == {"endpoint_error"}
    assert "exited twice in this run" in (outcome.folder.path / "log.txt").read_text()
    stand_in.check_gone()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            "print:OSError: [Errno 98] address already in use",
            "vLLM exited before it was ready: another program uses its port",
        ),
        ("deaf", "vLLM was not ready after 0.5 s"),
    ],
)
def test_a_server_that_does_not_start_ends_the_run_with_the_end_of_its_log(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, said: str
) -> None:
    monkeypatch.setenv("STAND_IN", mode)
    with pytest.raises(EndpointError) as caught:
        stand_in.run(tmp_path / "results", N, model_args={"start_timeout": 0.5 if mode == "deaf" else 60})
    error = caught.value
    assert (error.code, error.exit_code) == ("vllm.start", 4) and said in error.message
    if mode != "deaf" or stand_in.starts():  # it may have had no time to come up
        stand_in.check_gone()
    if mode != "deaf":
        assert mode.partition(":")[2] in str(error.why)
    assert error.where is not None and Path(error.where).is_file()
    assert not [path for path in tmp_path.glob("results/*") if path.is_dir()]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "not enough memory"),
        ("ValueError: No available memory for the cache blocks.", "not enough memory"),
        ("ValueError: Model architectures ['X'] are not supported for now.", "does not support the architecture"),
        ("vllm: error: unrecognized arguments: --block-size", "does not support one of the options"),
        ("something odd", None),
    ],
)
def test_the_cause_is_read_from_the_log(tmp_path: Path, log: str, said: str | None) -> None:
    (tmp_path / LOG).write_text("\n".join([*map(str, range(100)), log, *["INFO more"] * 19]))
    error = start_failure("vLLM exited before it was ready", tmp_path / LOG)
    assert (said or "ready") in error.message and (error.fix is not None) == (said is not None)
    assert str(error.why).splitlines()[0] == log and len(str(error.why).splitlines()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_no_process_is_left_whatever_ends_the_run(stand_in: StandIn, tmp_path: Path, number: signal.Signals) -> None:
    pid = children.start(lambda: stand_in.run(tmp_path / "results", 2000, handle_signals=True))
    wait(lambda: any((tmp_path / "results").rglob("samples/*.jsonl")))
    assert all(map(is_running, stand_in.pids()))
    os.kill(pid, number)
    code = children.ended(pid)
    assert code == (-number if number == signal.SIGKILL else 0)  # an outcome with exit code 130 or 143 came back
    stand_in.check_gone()
    assert RunReader.open(only_run(tmp_path / "results"), [words(2000)]).folder.check_plan() is None


@pytest.mark.slow
def test_a_server_that_ignores_sigterm_is_killed(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "stubborn")
    config = stand_in.config(tmp_path / "results", 2)
    backend = stand_in.backend(config, grace=0.2)
    assert start_run(plan_run(config, backend, [words(2)]), backend).exit_code == 0
    stand_in.check_gone()


def wait(event: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not event():
        assert time.monotonic() < until
        time.sleep(0.02)


# -- what is found, and what is refused -------------------------------------------------------------------------------


def test_no_vllm_is_an_error_with_the_two_commands_that_make_one(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EndpointError) as caught:
        make_backend(str(checkpoint), Settings.of(backend="vllm"))
    assert (caught.value.code, caught.value.exit_code) == ("vllm.missing", 4)
    assert "-m venv" in str(caught.value.fix) and "install vllm==" in str(caught.value.fix)
    found = environment(tmp_path / "kvl-eval" / "vllm", "0.11.0")
    assert find_installation().program.parent.parent == found
    monkeypatch.setenv("PATH", str(environment(tmp_path / "other", "0.9.1") / "bin"))
    assert find_installation().version == "0.9.1"
    monkeypatch.setenv(VARIABLE, str(environment(tmp_path / "named", "0.10.0")))
    assert find_installation().version == "0.10.0"
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(EndpointError, match=VARIABLE):
        find_installation()


def test_a_version_before_kimi_vl_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(environment(tmp_path, "0.8.4")))
    with pytest.raises(EndpointError, match=r"vLLM 0\.8\.4") as caught:
        find_installation()
    assert caught.value.code == "vllm.version" and "0.8.5" in str(caught.value.why)


@pytest.mark.parametrize("model", ["endpoint", "fake"])
def test_only_checkpoints_get_a_server(model: str) -> None:
    with pytest.raises(UsageError, match="needs a checkpoint"):
        make_backend(model, Settings.of(backend="vllm"))


@pytest.mark.parametrize(
    "given",
    [
        {"vllm_args": "--port 8000"},
        {"vllm_args": "--trust_remote_code"},
        {"vllm_args": "--api-key=x"},
        {"vllm_args": "'"},
        {"start_timeout": 0},
        {"page_size": 64},
    ],
    ids=str,
)
def test_arguments_that_are_not_the_users_to_choose_are_refused(
    stand_in: StandIn, tmp_path: Path, given: dict[str, object]
) -> None:
    with pytest.raises((ConfigError, UsageError)):
        stand_in.backend(stand_in.config(tmp_path, model_args=given))


@pytest.mark.slow
def test_kimi_vl_is_served_from_a_folder_whose_only_code_is_ours(stand_in: StandIn, tmp_path: Path) -> None:
    config = resolve("kimi-vl-nano", "nano", [words(1)], {"backend": "vllm", "output_dir": tmp_path})
    with closed_after(make_backend(config.model, config.settings)) as backend:
        plan = plan_run(config, backend, [words(1)])
    options = plan.model["server_options"]
    assert isinstance(options, list) and "--trust-remote-code" in options
    assert any("--trust-remote-code, for kvl-eval's own processor file" in note.text for note in plan_notes(plan))
    source = Path(MODELS["kimi-vl-nano"].location)
    shutil.copytree(source, tmp_path / "source")
    published = json.loads((source / "config.json").read_text())
    code = {"AutoConfig": "evil.Config"}
    text = {**published["text_config"], "auto_map": code}
    (tmp_path / "source" / "config.json").write_text(json.dumps({**published, "text_config": text, "auto_map": code}))
    (tmp_path / "source" / "evil.py").write_text("raise SystemExit")
    link_for_vllm(tmp_path / "source", tmp_path / "linked")
    export_for_vllm(source, tmp_path / "exported")
    for folder in (tmp_path / "linked", tmp_path / "exported"):
        assert [path.read_bytes() for path in folder.glob("*.py")] == [CLASSES.read_bytes()]
        named = {path.name for path in folder.glob("*.json") if b"auto_map" in path.read_bytes()}
        assert named == {"preprocessor_config.json"}
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "linked" / name).read_bytes() == (tmp_path / "exported" / name).read_bytes()
    assert (tmp_path / "linked" / "model.safetensors").resolve() == tmp_path / "source" / "model.safetensors"
