"""`--break-lock`: a run whose lock was left by a process of another host."""

from __future__ import annotations

from kvl_eval.cli.options import Flags
from kvl_eval.cli.terminal import note
from kvl_eval.printable import one_line
from kvl_eval.store.run_folder import RunFolder


def break_lock(folder: RunFolder, flags: Flags) -> bool:
    """Break the lock of another host if the flags say so; whether there was one. Raises UsageError `run.busy`."""
    holder = folder.break_lock() if flags.switch("break_lock") else None
    if holder is None:
        return False
    text = f"removed the lock of pid {holder.pid} on {one_line(holder.host)}, taken {one_line(holder.start)}"
    note(text)
    folder.log(f"note: {text}")
    return True
