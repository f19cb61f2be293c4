"""`python -m kvl_eval` is `kvl-eval`."""

from kvl_eval.cli.main import main

if __name__ == "__main__":
    main()
