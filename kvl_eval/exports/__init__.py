"""A run in the forms other tools read: tables for pandas, logs of inspect_ai, files of lm-evaluation-harness.

Every form holds the plan's samples in the data set's order. None needs the tool it is made for, a model or a data set.
"""

from __future__ import annotations

from pathlib import Path

from kvl_eval.errors import UsageError
from kvl_eval.store.outputs import OutputFolder
from kvl_eval.store.run_folder import RunFolder

FORMATS = ("csv", "parquet", "lm-eval", "inspect", "osworld", "submission")


def export_run(folder: RunFolder, form: str, out: Path | None = None, protocol: str | None = None) -> list[Path]:
    """Write the run into the folder `out` and return the files' paths; files of the same name are replaced.

    Args:
        out:      the folder, by default `export/FORMAT` in the run.
        protocol: whose verdicts are written, as `scores/` calls them (`official+JUDGE`: a judge's); None means each
                  task's default protocol, by the newest judge. Only what the run was scored under can be written.

    Raises: UsageError for a run that was not scored so, or has nothing to submit; DataError, StorageError.
    """
    if form not in FORMATS:
        raise UsageError("usage.format", f"unknown format {form!r}", fix=f"use one of {', '.join(FORMATS)}")
    root = OutputFolder.inside(folder.path, "export", form) if out is None else OutputFolder(out)
    if form in ("csv", "parquet"):
        from kvl_eval.exports.tables import write_csv, write_parquet

        return [(write_csv if form == "csv" else write_parquet)(folder, root, protocol)]
    if form == "lm-eval":
        from kvl_eval.exports.lm_eval_files import write_lm_eval

        return write_lm_eval(folder, root, protocol)
    if form == "inspect":
        from kvl_eval.exports.inspect_log import write_inspect

        return write_inspect(folder, root, protocol)
    if form == "osworld":
        from kvl_eval.exports.osworld_folder import write_osworld

        return write_osworld(folder, root)
    from kvl_eval.exports.submissions import write_submissions

    return write_submissions(folder, root)
