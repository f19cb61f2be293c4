"""In how many forms one answer stands on its way from the backend to the result row."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import FrameType

import kvl_eval
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.run.plan import plan_run
from kvl_eval.run.runner import start_run
from tests.tiny_task import config_of, tiny

TEXT = "B is the answer that is followed"
PACKAGE = str(Path(kvl_eval.__file__).parent)
READER = str(Path(PACKAGE) / "scorers" / "answers")  # how it looks at a text is its own affair
CONTAINERS = (dict, list, tuple)
DEPTH = 4  # of objects inside each other
FORMS = 6  # that an answer may take


class Walk:
    """A profiler that notes which objects hold the text, whenever a function of the package begins or ends.

    Attributes:
        forms: types' names in order of appearance; of a dict also its first fields, as two of them are two forms.
    """

    def __init__(self) -> None:
        self.forms: dict[str, str] = {}

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        place = frame.f_code.co_filename
        if event in ("call", "return") and place.startswith(PACKAGE) and not place.startswith(READER):
            for item in (*frame.f_locals.values(), value):
                self.look_at(item, DEPTH, frame.f_code.co_qualname)

    def look_at(self, value: object, depth: int, place: str) -> None:
        """Note `value` if it holds the text itself, and look at what it consists of."""
        is_own = type(value).__module__.startswith("kvl_eval")
        if not depth or not (is_own or type(value) in CONTAINERS):
            return
        for part in gc.get_referents(value):
            if isinstance(part, str | bytes):
                if (TEXT if isinstance(part, str) else TEXT.encode()) in part:
                    self.forms.setdefault(form_of(value), place)
            else:
                self.look_at(part, depth - 1, place)


def form_of(value: object) -> str:
    """What a holder of text is called."""
    first = f" of {', '.join(map(str, list(value)[:4]))}" if isinstance(value, dict) else ""
    return f"{type(value).__qualname__}{first}"


def test_an_answer_takes_at_most_six_forms(tmp_path: Path) -> None:
    task = tiny(1)
    config = config_of(task, tmp_path)
    backend = FakeBackend(config.settings, answer=lambda request, repeat: TEXT)
    plan = plan_run(config, backend, [task])
    walk = Walk()
    sys.setprofile(walk)
    try:
        outcome = start_run(plan, backend)
    finally:
        sys.setprofile(None)
    assert outcome.results.rows[0].n_scored == 1
    assert {"Completion", "Record", "Answer"} <= walk.forms.keys()
    assert len(walk.forms) <= FORMS, walk.forms
