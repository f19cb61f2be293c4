"""Values that MATH-V's script finds: `python latex2sympy_values.py < TEXTS` reads a JSON list, prints another.

Needs latex2sympy2 1.9.1, which no environment of ours can hold (it wants antlr 4.7.2); so it runs in one of its own.
The script (mathllm/MATH-V evaluation/utils.py @ a1f5cc3) parses, prints the expression, and runs that as Python among
the names of `math`. It compares real numbers that can be rounded; whatever else comes out has no value here.
"""

from __future__ import annotations

import json
import math
import sys
import warnings

from latex2sympy2 import latex2sympy

NAMES = {name: getattr(math, name) for name in dir(math) if not name.startswith("_")}


def value(text: str) -> float | None:
    """The number; None where the script fails, or finds something that it can compare with no number."""
    try:
        found = float(round(eval(str(latex2sympy(text)), dict(NAMES)), 6))
    except Exception:
        return None
    return found if math.isfinite(found) else None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([value(text) for text in json.load(sys.stdin)]))
