"""Shows a run in a browser, also while it is in progress: a report folder and its progress, on 127.0.0.1 only."""
