"""Files of strangers that name servers: nobody is contacted, and no key is sent, unless the user says so."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvl_eval.trust import AddressPlace, Contact, KnownServers, Named, Origin, Trust
from tests.faults.foreign_run import cluster, endpoint, foreign, interrupt, judge, seal
from tests.faults.shell import FAKE, MINI, Outcome, Shell, newest
from tests.faults.stub_server import Stub, chat, serving
from tests.refusals import refused

KEY = "sk-planted-secret"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_VAR", KEY)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(lambda asked: chat("B")) as server:
        yield server


@pytest.fixture
def run(shell: Shell, tmp_path: Path) -> Path:
    """A finished run of this user that has contacted nobody."""
    shell("run", *MINI, *FAKE, "-o", tmp_path / "own")
    return newest(tmp_path / "own")


def unfinished(run: Path, new: Path, stub: Stub) -> Path:
    """A stranger's unfinished run of a model behind the stub."""
    folder = foreign(run, new, endpoint(stub.url, "MY_VAR"))
    interrupt(folder)
    return folder


def check_refused(outcome: Outcome, stub: Stub) -> None:
    assert outcome.code == 2, outcome.err
    assert "error[trust.server]" in outcome.err and "MY_VAR" in outcome.err
    assert str(Origin.of(stub.url)) in outcome.err and KEY not in outcome.err
    assert stub.paths == []


def test_K1_resume_of_a_finished_foreign_run_contacts_nobody(
    shell: Shell, run: Path, tmp_path: Path, stub: Stub
) -> None:
    folder = foreign(run, tmp_path / "new", judge(stub.url, "MY_VAR"))
    outcome = shell("resume", folder)
    assert outcome.code in (0, 3), outcome.err
    assert f"kvl-eval score {folder} --only-failed" in outcome.err
    assert stub.paths == []


def test_K1_score_only_failed_asks_first(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = foreign(run, tmp_path / "new", judge(stub.url, "MY_VAR"))
    first = shell("score", folder, "--only-failed")
    check_refused(first, stub)
    assert first.fix[:2] == ["score", str(folder)]
    shell(*first.fix)
    assert stub.paths, "the command that the error advises asks"
    assert {asked.headers["authorization"] for asked in stub.asked} == {f"Bearer {KEY}"}


def test_K1_a_judge_of_an_unfinished_foreign_run(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = foreign(run, tmp_path / "new", judge(stub.url, "MY_VAR"))
    interrupt(folder)
    check_refused(shell("resume", folder), stub)
    again = shell("run", *MINI, *FAKE, "-o", tmp_path, "--resume")
    assert again.code == 0, again.err
    assert str(folder) in again.err and stub.paths == [], "a neighbour that fits brings no judge"


def test_K1_what_asks_nobody_contacts_nobody(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = foreign(run, tmp_path / "new", judge(stub.url, "MY_VAR"))
    other = unfinished(run, tmp_path / "other", stub)
    for one in (folder, other):
        for verb in ("score", "report", "verify"):
            assert shell(verb, one).code in (0, 3, 4)
        shell("export", one, "-f", "csv", "-o", tmp_path / f"export {one.name}")
    shell("compare", folder, run)
    shell("merge", folder, other, "-o", tmp_path / "merged")
    shell("list", "runs", "-o", tmp_path)
    assert stub.paths == []


def test_K1_shards_of_strangers_are_joined_without_a_word(shell: Shell, tmp_path: Path, stub: Stub) -> None:
    for shard in ("1/2", "2/2"):
        shell(
            *("run", *MINI, *FAKE, "-o", tmp_path / "parts"),
            *("--shard", shard),
        )
    shards = sorted(path for path in (tmp_path / "parts").iterdir() if path.is_dir())
    for shard in shards:
        seal(shard, judge(stub.url, "MY_VAR"))
    joined = shell("merge", *shards, "-o", tmp_path / "joined")
    assert joined.code in (0, 3), joined.err
    assert stub.paths == []


def test_K2_an_endpoint_of_a_foreign_run(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = unfinished(run, tmp_path / "new", stub)
    outcome = shell("resume", folder)
    check_refused(outcome, stub)
    assert outcome.fix == ["resume", str(folder), "--base-url", stub.url, "--api-key-env", "MY_VAR"]
    half = shell("resume", folder, "--base-url", stub.url)
    check_refused(half, stub)
    check_refused(shell("resume", folder, "--api-key-env", "MY_VAR"), stub)
    shell(*outcome.fix)
    assert stub.paths, "with both flags repeated it asks"


def test_K2_a_mismatch_is_told_without_contact(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = unfinished(run, tmp_path / "new", stub)
    seal(folder, lambda manifest: manifest["config"].update(seed=17))
    outcome = shell("resume", folder, "--base-url", stub.url, "--api-key-env", "MY_VAR")
    assert outcome.code == 2 and "run.mismatch" in outcome.err and "seed 0 → 17" in outcome.err
    assert stub.paths == []


def test_K1_own_runs_go_on_without_flags(shell: Shell, tmp_path: Path, stub: Stub) -> None:
    named = ("--base-url", stub.url, "--api-key-env", "MY_VAR")
    first = shell("run", *MINI, "--model", "endpoint", *named, "-o", tmp_path / "own")
    assert first.code == 0, first.err
    run = newest(tmp_path / "own")
    interrupt(run)
    asked = len(stub.paths)
    again = shell("resume", run)
    assert again.code == 0, again.err
    assert len(stub.paths) > asked


def test_K1_an_unset_variable_is_no_key(
    shell: Shell, run: Path, tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_VAR")
    outcome = shell("resume", unfinished(run, tmp_path / "new", stub))
    assert outcome.code == 2 and "asks to contact http://127.0.0.1" in outcome.err
    assert stub.paths == []


def test_K3_a_configuration_file_sends_no_key(shell: Shell, tmp_path: Path, stub: Stub) -> None:
    file = tmp_path / "config.yaml"
    text = (
        "task: mathvista\nsplit: mini\nlimit: 2\nmodel: endpoint\nnum-workers: 0\nbase-url: {}\napi-key-env: MY_VAR\n"
    )
    file.write_text(text.format(stub.url))
    for verb in (("run",), ("run", "--dry-run"), ("sweep", "--think-budget", "64"), ("run", "--yes")):
        outcome = shell(*verb, "-C", file, "-o", tmp_path / "out")
        check_refused(outcome, stub)
    assert not (tmp_path / "out").exists()
    check_refused(shell("run", "-C", file, "-o", tmp_path / "out", "--api-key-env", "MY_VAR"), stub)
    confirmed = shell(*shell("run", "-C", file, "-o", tmp_path / "out").fix)
    assert confirmed.code == 0, confirmed.err
    assert f"note: requests go to {Origin.of(stub.url)}, with the key in MY_VAR" in confirmed.err
    assert stub.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_K3_a_configuration_file_may_name_a_server(shell: Shell, tmp_path: Path, stub: Stub) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"model: endpoint\nbase-url: {stub.url}\n")
    outcome = shell("run", *MINI, "-C", file, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert f"note: requests go to {Origin.of(stub.url)}, without a key" in outcome.err
    assert all("authorization" not in asked.headers for asked in stub.asked)
    assert not (tmp_path / "home" / "kvl-eval" / "servers.jsonl").exists(), "what a file names is not remembered"


def test_K3_a_configuration_file_brings_no_code(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    file = tmp_path / "config.yaml"
    file.write_text(f"include-path: [{tmp_path / 'code'}]\n")
    outcome = shell("run", *MINI, "-C", file, "-o", tmp_path / "out")
    assert outcome.code == 2 and "error[trust.include]" in outcome.err
    assert not (tmp_path / "code" / "ran").exists()


@pytest.fixture
def listener() -> Iterator[tuple[str, list[object]]]:
    """host:port, and who has connected."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        ends = threading.Event()

        def listen() -> None:
            while not ends.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                connection.close()
                came.append(address)

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", came
        ends.set()
        thread.join()


def test_K3_a_foreign_cluster_is_not_joined(
    shell: Shell, run: Path, tmp_path: Path, listener: tuple[str, list[object]]
) -> None:
    address, came = listener
    folder = foreign(run, tmp_path / "new", cluster(address))
    interrupt(folder)
    outcome = shell("resume", folder)
    assert outcome.code == 2 and "error[trust.server]" in outcome.err and address in outcome.err
    assert outcome.fix[-2:] == ["--ray-address", address]
    file = tmp_path / "config.yaml"
    for line in (f"ray-address: {address}", f"model-args: ray_address={address}"):
        file.write_text(f"model: fake\nbackend: ray\n{line}\n")
        outcome = shell("run", *MINI, "-C", file, "-o", tmp_path / "out")
        assert outcome.code == 2 and "error[trust.server]" in outcome.err
    assert came == []


def test_K3_repositories_of_a_foreign_run(shell: Shell, run: Path, tmp_path: Path) -> None:
    def model(manifest: dict) -> None:  # type: ignore[type-arg]
        manifest["config"].update(model="someone/odd-model")

    def data(manifest: dict) -> None:  # type: ignore[type-arg]
        [task] = manifest["config"]["tasks"]
        task["split"], task["source"] = "testmini", {**task["source"], "repo": "someone/odd-data"}
        manifest["identity"]["tasks"]["mathvista"]["split"] = "testmini"

    for name, change, flags in (
        ("model", model, ["--model", "someone/odd-model"]),
        ("data", data, ["--data-repo", "mathvista=someone/odd-data"]),
    ):
        folder = foreign(run, tmp_path / name, change)
        interrupt(folder)
        outcome = shell("resume", folder)
        assert outcome.code == 2 and "error[trust.server]" in outcome.err, outcome.err
        assert outcome.fix == ["resume", str(folder), *flags]
    odd = shell("resume", tmp_path / "model", "--model", "someone/else")
    assert odd.code == 2 and "error[usage.resume]" in odd.err


def test_K1_busy_is_told_before_trust(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    folder = unfinished(run, tmp_path / "new", stub)
    holder = {"pid": os.getppid(), "host": socket.gethostname(), "start": "2026-01-01T00:00:00+00:00"}
    (folder / "lock").write_text(json.dumps(holder) + "\n")
    outcome = shell("resume", folder)
    assert outcome.code == 2 and "error[run.busy]" in outcome.err
    assert stub.paths == []


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_K1_a_person_at_a_terminal_is_asked(shell: Shell, run: Path, tmp_path: Path, stub: Stub, answer: str) -> None:
    folder = unfinished(run, tmp_path / "new", stub)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kvl_eval", "resume", str(folder)]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as asked:
        os.write(ours, f"{answer}\n".encode())
        asked.wait(120)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode().replace("\r\n", "\n")
    os.close(ours)
    assert "would send it the value of MY_VAR. Continue? [y/N]" in shown
    assert bool(stub.paths) is (answer == "y")
    assert ("trust.server" in shown) is (answer != "y")


# -- the module itself ------------------------------------------------------------------------------------------


def contact(
    place: AddressPlace = AddressPlace.RUN_FOLDER, variable: str | None = "MY_VAR", **changes: AddressPlace
) -> Contact:
    return Contact(
        kind="server",
        name="https://evil.example:443",
        place=place,
        confirming=("--base-url", "https://evil.example/v1"),
        variable=variable,
        variable_place=changes.get("variable_place", place),
        confirming_key=("--api-key-env", "MY_VAR"),
    )


def trust(folder: Path, answer: bool | None = None, *, records: bool = False) -> Trust:
    return Trust(
        KnownServers(folder),
        lambda words: shlex.join(["kvl-eval", "verb", *words]),
        None if answer is None else lambda question: answer,
        records,
    )


@pytest.mark.parametrize(
    ("place", "variable_place", "variable", "goes"),
    [
        (AddressPlace.COMMAND_LINE, AddressPlace.COMMAND_LINE, "MY_VAR", True),
        (AddressPlace.COMMAND_LINE, AddressPlace.CONFIG_FILE, "MY_VAR", False),
        (AddressPlace.COMMAND_LINE, AddressPlace.RUN_FOLDER, "MY_VAR", False),
        (AddressPlace.CONFIG_FILE, AddressPlace.CONFIG_FILE, None, True),
        (AddressPlace.CONFIG_FILE, AddressPlace.CONFIG_FILE, "MY_VAR", False),
        (AddressPlace.CONFIG_FILE, AddressPlace.COMMAND_LINE, "MY_VAR", False),
        (AddressPlace.RUN_FOLDER, AddressPlace.RUN_FOLDER, None, False),
        (AddressPlace.RUN_FOLDER, AddressPlace.COMMAND_LINE, "MY_VAR", False),
    ],
)
def test_K1_the_table(
    tmp_path: Path, place: AddressPlace, variable_place: AddressPlace, variable: str | None, goes: bool
) -> None:
    asked = contact(place, variable, variable_place=variable_place)
    if goes:
        trust(tmp_path).settle([asked])
    else:
        with refused(Exception, "trust.server", "never named"):  # type: ignore[type-var]
            trust(tmp_path).settle([asked])
    KnownServers(tmp_path).add([Named(kind="server", name=asked.name, variable=variable)])
    trust(tmp_path).settle([asked])


def test_K1_another_variable_is_not_known(tmp_path: Path) -> None:
    KnownServers(tmp_path).add([Named(kind="server", name="https://evil.example:443", variable="OTHER")])
    with pytest.raises(Exception, match="together with that variable"):
        trust(tmp_path).settle([contact()])
    trust(tmp_path).settle([contact(variable=None)])


def test_K1_a_person_may_say_yes(tmp_path: Path) -> None:
    assert contact().question() == (
        "this run folder asks for answers from https://evil.example:443 and would send it the value of MY_VAR. "
        "Continue?"
    )
    trust(tmp_path, True, records=True).settle([contact()])
    with pytest.raises(Exception, match="never named"):
        trust(tmp_path, False).settle([contact()])
    assert KnownServers(tmp_path).named() == frozenset(), "an answer holds for this command"


def test_K1_what_is_named_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    for _ in range(2):
        trust(tmp_path, records=True).settle([contact(AddressPlace.COMMAND_LINE)])
    file = tmp_path / "servers.jsonl"
    assert len(file.read_text().splitlines()) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    trust(tmp_path).settle([contact()])


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_K1_a_list_that_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    KnownServers(tmp_path).add([Named(kind="server", name="https://evil.example:443", variable="MY_VAR")])
    (tmp_path / "servers.jsonl").chmod(mode)
    with pytest.raises(Exception, match="never named") as caught:
        trust(tmp_path).settle([contact()])
    assert "writable by other users" in str(getattr(caught.value, "why", ""))


def test_K1_a_list_of_somebody_else_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KnownServers(tmp_path).add([Named(kind="server", name="https://evil.example:443", variable="MY_VAR")])
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(Exception, match="never named"):
        trust(tmp_path).settle([contact()])


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "lines"])
def test_K1_an_odd_list_is_no_list(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "home" / "servers.jsonl"
    file.parent.mkdir()
    KnownServers(tmp_path).add([Named(kind="server", name="https://evil.example:443", variable="MY_VAR")])
    if kind == "link":
        file.symlink_to(tmp_path / "servers.jsonl")
    elif kind == "folder":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.write_text('{"kind": 5}\n[[[\n\n{"kind": "server", "name": []}\n')
        file.chmod(0o600)
    with pytest.raises(Exception, match="never named"):
        trust(file.parent).settle([contact()])
    trust(file.parent, records=True).settle([contact(AddressPlace.COMMAND_LINE)])


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Evil.Example/v1", "https://evil.example:443"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("http://host", "http://host:80"),
    ],
)
def test_K1_origins(address: str, origin: str) -> None:
    assert str(Origin.of(address)) == origin


def test_K1_the_golden_stranger(shell: Shell, run: Path, tmp_path: Path, stub: Stub) -> None:
    """The folder of a run with two differing addresses: both are confirmed by one command."""
    folder = unfinished(run, tmp_path / "new", stub)
    seal(folder, judge(stub.url, "MY_VAR"))
    outcome = shell("resume", folder)
    check_refused(outcome, stub)
    assert "1 more such request" in outcome.err
    assert "--judge-key-env" in outcome.fix and "--api-key-env" in outcome.fix
    shutil.rmtree(folder)
