.PHONY: check format test slow pages demo docs

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

pages:  ## every page and schema that is written from the code
	set -e; for page in architecture json_docs json_schemas option_docs reliability run_folder_docs task_table; do \
		python -m tools.$$page; done

demo:  ## results/demo and the README's screenshots, after a change of weights, mini splits or report
	python -m tools.demo_report

docs:  ## the site in build/site, from docs/ and the docstrings; needs the extra `docs`
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
