"""The run folder on disk: append-only journals, records, locks."""
