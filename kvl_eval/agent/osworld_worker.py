"""Drives OSWorld's own environment for kvl-eval. This file is run by the interpreter that has `desktop-env` installed.

It stands alone: nothing of kvl-eval is imported, and Python 3.9 is enough. One JSON object per line comes in and goes
out (docs/agents.md). What the environment prints goes to standard error; screens are files in a folder.

    python -I osworld_worker.py '{"folder": ..., "cache": ..., "provider": ..., "screen": [w, h], "tree": ...}'
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import queue
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any, TextIO

MOST_TEXT = 2000  # characters of an expected or found value, and of an error
CLOSE_SECONDS = 10.0  # most time for letting go of a machine once nobody listens
PASSWORD = "password"


class GivenMachine:
    """The environment's interface to a machine, over one that kvl-eval has started: its address is all there is."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get_vm_path(self, **options: object) -> str:
        return "kvl-eval"

    def start_emulator(self, path: str, *options: object) -> None:
        pass

    def get_ip_address(self, path: str) -> str:
        return self.address

    def save_state(self, path: str, *options: object) -> None:
        raise NotImplementedError("a local desktop has no snapshots")

    def revert_to_snapshot(self, path: str, *options: object) -> str:
        return path

    def stop_emulator(self, path: str, *options: object) -> None:
        pass


class OsworldWorker:
    """One desktop of the original environment."""

    def __init__(self, settings: Any) -> None:
        self.folder: str = settings["folder"]
        self.cache: str = settings["cache"]
        self.provider: str = settings["provider"]
        self.screen: tuple[int, ...] = tuple(settings["screen"])
        self.tree: str | None = settings.get("tree")
        self.env: Any = None
        self.is_closed = False
        self.screens = 0
        self.replies: list[Any] = []
        self.checks: list[dict[str, object]] = []

    def reset(self, task: dict[str, object], address: str | None = None) -> dict[str, object]:
        """Bring the desktop into the state that a task begins with."""
        self.env = self._made(address)
        observation = self.env.reset(task)
        if not observation or not observation.get("screenshot"):
            raise RuntimeError("the desktop showed no screen after the setup")
        self._watch_metrics()
        return {"screenshot": self._stored(observation["screenshot"])}

    def _made(self, address: str | None) -> Any:
        module = original(self.tree)
        provider = self.provider
        if address is not None:
            machine = GivenMachine(address)
            module.create_vm_manager_and_provider = lambda *names, **options: (machine, machine)
            provider = "docker"  # a known name is needed; what it stands for was replaced
        return module.DesktopEnv(
            provider_name=provider,
            action_space="pyautogui",
            cache_dir=self.cache,
            screen_size=self.screen,
            require_a11y_tree=False,
            headless=True,
            os_type="Ubuntu",
            client_password=PASSWORD,
        )

    def _watch_metrics(self) -> None:
        metric = self.env.metric
        self.env.metric = [self._watched(one) for one in metric] if isinstance(metric, list) else self._watched(metric)

    def _watched(self, metric: Callable[..., Any]) -> Callable[..., Any]:
        def watched(found: Any, *expected: Any, **options: Any) -> Any:
            begun, value, error = time.monotonic(), None, None
            try:
                value = metric(found, *expected, **options)
                return value
            except Exception as raised:
                error = named(raised)
                raise
            finally:
                self.checks.append(
                    {
                        "function": getattr(metric, "__name__", "unknown"),
                        "expected": self._shown(expected[0]) if expected else "",
                        "found": self._shown(found),
                        "value": None if error else number(value),
                        "error": error,
                        "seconds": time.monotonic() - begun,
                    }
                )

        return watched

    def _shown(self, value: Any) -> str:
        """A value as text, without the place of the cache folder on this machine."""
        return short(value).replace(self.cache, "cache")

    def observe(self) -> dict[str, object]:
        """What the desktop shows."""
        screen = self._once(lambda: self.env.controller.get_screenshot())
        if not screen:
            raise RuntimeError("the desktop showed no screen")
        return {"screenshot": self._stored(screen)}

    def step(self, action: str, pause: float = 0.0) -> dict[str, object]:
        """Do one action, once: the environment itself would send a call that fails up to three times."""
        controller = self.env.controller
        execute, self.replies = controller.execute_python_command, []

        def watched(command: str) -> Any:
            reply = execute(command)
            self.replies.append(reply)
            return reply

        controller.execute_python_command = watched
        try:
            observation, _, done, _ = self._once(lambda: self.env.step(action, pause))
        finally:
            controller.execute_python_command = execute
        result: dict[str, object] = {"code": 0, "stdout": "", "stderr": "", "done": bool(done)}
        for reply in self.replies:
            if isinstance(reply, dict):
                code = reply.get("returncode", 0)
                result["code"] = code if isinstance(code, int) else -1
                result["stdout"], result["stderr"] = str(reply.get("output") or ""), str(reply.get("error") or "")
            else:
                result["code"], result["stderr"] = -1, "the desktop refused the action; it was not repeated"
        if observation and observation.get("screenshot"):
            result["screenshot"] = self._stored(observation["screenshot"])
        return result

    def evaluate(self) -> dict[str, object]:
        """Judge the state that was left."""
        self.checks = []
        value = number(self.env.evaluate())
        if value is None:
            raise RuntimeError("the evaluator gave no number")
        if not self.checks:  # the last action decided, without a metric
            function = short(getattr(self.env, "evaluator", {}).get("func", "unknown"))
            found = short(self.env.action_history[-1]) if self.env.action_history else ""
            self.checks.append({"function": function, "expected": "", "found": found, "value": value, "seconds": 0.0})
        return {"value": value, "checks": self.checks}

    def versions(self) -> dict[str, object]:
        """What judges and acts."""
        found: dict[str, object] = {"python": platform.python_version(), "desktop_env": "a clone"}
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["desktop_env"] = importlib.metadata.version("desktop-env")
        return found

    def close(self) -> dict[str, object]:
        """Let go of the machine."""
        env, self.env, self.is_closed = self.env, None, True
        if env is not None:
            env.close()
        return {}

    def _once(self, call: Callable[[], Any]) -> Any:
        """What a call returns while the environment's client repeats nothing."""
        controller = self.env.controller
        before = controller.retry_times, controller.retry_interval
        controller.retry_times, controller.retry_interval = 1, 0
        try:
            return call()
        finally:
            controller.retry_times, controller.retry_interval = before

    def _stored(self, png: bytes) -> str:
        self.screens += 1
        name = f"{self.screens}.png"
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(png)
        return name


def original(tree: str | None) -> Any:
    """The module `desktop_env.desktop_env`: the installed one, or that of the clone where none is installed."""
    if tree and importlib.util.find_spec("desktop_env") is None:
        sys.path.insert(0, tree)
    if importlib.util.find_spec("easyocr") is None:  # imported by one metric that three tasks use
        sys.modules["easyocr"] = types.ModuleType("easyocr")
    return importlib.import_module("desktop_env.desktop_env")


def number(value: Any) -> float | None:
    """A value of an evaluator as a number; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def short(value: Any) -> str:
    """A value as text of bounded length."""
    try:
        return (value if isinstance(value, str) else repr(value))[:MOST_TEXT]
    except Exception:
        return "a value that cannot be shown"


def named(error: BaseException) -> str:
    """An error as text of bounded length."""
    return f"{type(error).__name__}: {error}"[:MOST_TEXT]


KINDS = {"reset": "setup_failed", "evaluate": "evaluator_error"}


def answer(worker: OsworldWorker, line: str) -> dict[str, object]:
    """The reply to one line."""
    what = None
    try:
        request = json.loads(line)
        what = request.pop("do")
        if what not in ("reset", "observe", "step", "evaluate", "versions", "close"):
            raise ValueError(f"unknown request {what!r}")
        return {"ok": getattr(worker, what)(**request)}
    except Exception as error:
        return {"error": {"kind": KINDS.get(str(what), "desktop_died"), "text": named(error)}}


def read_lines(worker: OsworldWorker, lines: queue.Queue[str]) -> None:
    """Hand on the lines of standard input; once it ends, so does the worker, whatever is under way."""
    for line in sys.stdin:
        lines.put(line)
    timer = threading.Timer(CLOSE_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()
    try:
        worker.close()
    finally:
        os._exit(0)


def main() -> None:
    """Answer until told to close."""
    replies: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = OsworldWorker(json.loads(sys.argv[1]))
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_lines, args=(worker, lines), daemon=True).start()
    while True:
        replies.write(json.dumps(answer(worker, lines.get())) + "\n")
        replies.flush()
        if worker.is_closed:
            os._exit(0)


if __name__ == "__main__":
    main()
