"""Tables and pages of finished runs: `table` for the terminal, `markdown`, and `html` with its sample browser."""
