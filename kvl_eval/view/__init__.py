"""Looking at a run in a browser, also while it goes on: a report folder and its progress, served on 127.0.0.1 only."""
