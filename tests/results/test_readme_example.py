"""The README's example as it stands, however a script can be run: no guard, no traceback, side effects once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.media.test_pool import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
COUNTER = "open('counter', 'a').write('one line\\n')\n"
WAYS = {
    "script": ("a.py",),
    "stdin": ("-",),
    "command": ("-c", "{code}"),
    "module": ("-m", "a"),  # with two media workers
    "pytest": ("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "test_a.py"),
}


def example() -> str:
    """The Python block of README."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def changed(code: str, options: str) -> str:
    """The example with fewer samples and these options."""
    few = code.replace("limit=20", f"limit=3, {options}")
    assert few != code, "README has another example: adapt this test"
    return few


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_example_runs_in_every_way(tmp_path: Path, way: str) -> None:
    code = example() if way == "script" else changed(example(), "num_workers=2" if way == "module" else "")
    code = COUNTER + code
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "test_a.py").write_text("def test_example() -> None:\n" + "".join(f"    {line}\n" for line in code.splitlines()))
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    done = subprocess.run(
        [sys.executable, *(part.replace("{code}", code) for part in WAYS[way])],
        cwd=tmp_path, env=environment, input=code, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^task +n +score +95% CI +protocol$", done.stdout, re.MULTILINE)
    assert "official-rule" in done.stdout
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 3
    assert (tmp_path / "counter").read_text() == "one line\n"
