"""Where the modules of a model go. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

Places = Mapping[str, int | str]
"""{name of a module, "" being the model: a device as accelerate names it: the number of a card, `cpu` or `disk`}."""
