"""A stand-in for `desktop_env.desktop_env` of OSWorld: the parts that kvl-eval's worker uses, with faults on demand.

`snapshot` of a task names the fault. Everything that an episode does is kept in `seen.jsonl` of the cache folder.
"""

import json
import os
import struct
import sys
import time
import zlib

# The original writes to standard output, and so do the libraries under it.
print("Initializing... {not JSON}")


def create_vm_manager_and_provider(name, region, use_proxy=False):
    return Provider(), Provider()


class Provider:
    def get_vm_path(self, **options):
        return "machine"

    def start_emulator(self, path, headless, os_type):
        pass

    def get_ip_address(self, path):
        return "127.0.0.1:5000:9222:8006:8080"

    def revert_to_snapshot(self, path, name):
        return path

    def stop_emulator(self, path):
        pass


def png(width, height, gray):
    rows = b"".join(b"\0" + bytes([gray]) * width for _ in range(height))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class Controller:
    """As the original: a call that fails is sent again."""

    def __init__(self, env):
        self.env, self.retry_times, self.retry_interval = env, 3, 5

    def get_screenshot(self):
        fault = self.env.fault
        if fault == "cut screen":
            return png(*self.env.screen, 50)[:40]
        if fault == "huge screen":
            return png(8, 8, 50).replace(struct.pack(">II", 8, 8), struct.pack(">II", 100_000, 100_000))
        if fault == "small screen":
            return png(8, 8, 50)
        return png(*self.env.screen, len(self.env.seen) % 200)

    def execute_python_command(self, command):
        for _ in range(self.retry_times):
            self.env.see(executed=command)
            if self.env.fault != "refuses actions":
                return {"output": "typed\n", "error": "", "returncode": 0, "status": "success"}
            time.sleep(self.retry_interval)
        return None


def exact_match(result, rules):
    if result == "raise":
        raise ValueError("no such file")
    return 1.0 if result == rules else 0.0


class DesktopEnv:
    def __init__(self, **options):
        self.screen, self.cache = options["screen_size"], options["cache_dir"]
        self.manager, self.provider = create_vm_manager_and_provider(options["provider_name"], None)
        self.path = self.manager.get_vm_path(os_type="Ubuntu")
        self.provider.start_emulator(self.path, True, "Ubuntu")
        self.address = self.provider.get_ip_address(self.path)
        self.controller, self.seen, self.action_history, self.fault = Controller(self), [], [], ""
        self.options = options

    def see(self, **what):
        self.seen.append(what)
        with open(os.path.join(self.cache, "..", "seen.jsonl"), "a") as file:
            file.write(json.dumps(what) + "\n")

    def reset(self, task):
        self.fault, self.task = task.get("snapshot", ""), task
        os.makedirs(os.path.join(self.cache, task["id"]), exist_ok=True)
        cached = sorted(os.listdir(os.path.join(self.cache, task["id"])))
        self.see(reset=task["id"], provider=self.options["provider_name"], address=self.address, cached=cached)
        if self.fault == "setup fails":
            raise Exception("Setup step 1 failed: _download_setup - 404")
        if self.fault == "setup hangs":
            time.sleep(600)
        self.metric, self.evaluator = exact_match, task["evaluator"]
        return {"screenshot": self.controller.get_screenshot()} if self.fault != "no screen" else {"screenshot": None}

    def step(self, action, pause=2):
        self.action_history.append(action)
        if self.fault == "dies in a step":
            os._exit(3)
        if self.fault == "hangs in a step":
            time.sleep(600)
        if self.fault == "prints":
            print("x" * 100_000)
            os.write(1, b"noise of a library\n")
            sys.stderr.write("and more\n")
        if action not in ("WAIT", "DONE", "FAIL"):
            self.controller.execute_python_command(action)
        return {"screenshot": self.controller.get_screenshot()}, 0, action in ("DONE", "FAIL"), {}

    def evaluate(self):
        if self.fault == "dies in evaluation":
            os._exit(3)
        if self.task["evaluator"]["func"] == "infeasible":
            return 1 if self.action_history[-1:] == ["FAIL"] else 0
        if self.action_history[-1:] == ["FAIL"]:
            return 0
        found = "raise" if self.fault == "evaluator raises" else os.path.join(self.cache, "x.xlsx")
        value = self.metric(found, found if self.fault != "wrong" else "other")
        return {"no number": None, "two": 2.0}.get(self.fault, value)

    def close(self):
        self.see(closed=True)
