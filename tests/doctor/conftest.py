from tests.cli.conftest import kvl

__all__ = ["kvl"]
