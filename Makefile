.PHONY: check format test slow demo

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

demo:  ## results/demo and the README's screenshots, after a change of weights, mini splits or report
	python -m tools.demo_report
