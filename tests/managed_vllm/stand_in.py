"""What stands in for `vllm serve`: the stub server of the fault tests, with a child process, as vLLM has its engine.

STAND_IN=MODE says how it behaves:

    serve        answers `B`
    die:N        kills itself when it is asked for answer number N (from 1), in each life
    die-once:N   the same, in its first life alone
    deaf         never gets healthy
    stubborn     answers, and takes no notice of SIGTERM
    print:TEXT   prints TEXT and ends

STAND_IN_NOTES names a file that gets a line for every start: process, child and arguments.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.stub_server import Answer, Asked, chat, models, serving


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def main() -> None:
    mode, _, text = os.environ.get("STAND_IN", "serve").partition(":")
    notes = Path(os.environ["STAND_IN_NOTES"])
    key = os.environ["VLLM_API_KEY"]
    child = subprocess.Popen(["sleep", "600"])
    lives = len(notes.read_text().splitlines()) if notes.is_file() else 0
    with notes.open("a") as file:
        file.write(json.dumps({"pids": [os.getppid(), os.getpid(), child.pid], "words": sys.argv, "key": key}) + "\n")
    if mode == "print":
        print(text, flush=True)
        child.kill()
        sys.exit(1)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: (child.kill(), os._exit(0)))
    print("the stand-in is up", flush=True)
    if mode == "deaf":
        threading.Event().wait()

    def answer(asked: Asked) -> Answer:
        mortal = mode == "die" or (mode == "die-once" and lives == 0)
        if mortal and asked.number + 1 >= int(text):
            os.kill(os.getpid(), signal.SIGKILL)  # and leaves its child behind, as a crash does
        return chat("B", model="kvl", delay=0.01)

    with serving(answer, models("kvl"), port=int(option("--port")), key=key):
        threading.Event().wait()


main()
