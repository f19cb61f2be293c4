.PHONY: check format test slow

check:  ## what .ci/run runs, in the current environment
	ruff format --check .
	ruff check .
	mypy
	pytest

format:
	ruff format .
	ruff check --fix .

test:
	pytest

slow:
	pytest -m "slow or browser"
