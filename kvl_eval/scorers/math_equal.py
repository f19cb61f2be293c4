r"""Equality of short mathematical answers, as MATH-V's authors define it, by our own evaluator of LaTeX arithmetic.

The authors parse with latex2sympy2, print the expression and hand the text to Python's `eval`. Here a small recursive
parser reads the same language and computes while it reads; nothing is ever executed. Sizes of numbers and depth of
nesting are limited, and time is linear in the text.

Source: mathllm/MATH-V evaluation/utils.py @ a1f5cc3 with latex2sympy2 1.9.1 (behaviour measured, code our own).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

Number = int | float

MAX_DEPTH = 60  # of nested brackets, fractions and roots
MAX_BITS = 10_000  # of an integer
MAX_DIGITS = 1_000  # of a number as written
MAX_FACTORIAL = 1_000


def equal(gold: str, prediction: str) -> bool:
    """Whether two answers are the same text, the same tuple, or the same number to two decimals.

    Case does not count. An answer of blanks equals nothing. The tolerance is absolute, whatever the magnitude.
    """
    gold, prediction = gold.lower(), prediction.lower()
    if not gold.replace(" ", "") or not prediction.replace(" ", ""):
        return False
    if gold.strip() == prediction.strip():
        return True
    gold, prediction = rounded_tuple(gold), rounded_tuple(prediction)
    if gold == prediction:
        return True
    wanted = value(gold)
    found = None if wanted is None else value(prediction)
    return wanted is not None and found is not None and round(wanted, 2) == round(found, 2)


def rounded_tuple(text: str) -> str:
    """A tuple `(..., ...)` or list `[..., ...]` with its items rounded to two decimals; any other text as it is.

    Items with `infty`, and `a` and `-a`, stay; if one of the others has no value, the whole text stays.
    """
    items = text[1:-1].split(",")
    if len(items) < 2 or (text[0], text[-1]) not in (("(", ")"), ("[", "]")):
        return text
    rounded = []
    for item in items:
        if "infty" in item or item in ("a", "-a"):
            rounded.append(item)
            continue
        found = value(item)
        if found is None:
            return text
        try:
            rounded.append(str(round(found, 2)))
        except ValueError:  # more digits than Python prints
            return text
    return f"{text[0]}{','.join(rounded)}{text[-1]}"


def value(text: str) -> Number | None:
    r"""The real number that `text` denotes, or None.

    Integers and decimals are exact, and an integer stays an `int` as long as nothing divides. `:` divides,
    juxtaposition multiplies and binds tighter than `/`, `2\frac{1}{3}` is a product, a percentage is divided by 100.
    Reading stops silently at the first token that cannot continue a complete expression: `30)` is 30. Letters, units,
    signs outside the language, lists, equations, and results that are complex, infinite or too large have no value.
    """
    for old, new in _REPLACED:
        text = text.replace(old, new)
    try:
        found = _Parser(_SIDE.sub(r"\\\1", text)).relation()
    except (_NoValue, ArithmeticError, ValueError, TypeError):
        return None
    return found if isinstance(found, int) or (isinstance(found, float) and math.isfinite(found)) else None


class _NoValue(Exception):
    """The text denotes no number."""


_REPLACED = (
    (r"\dfrac", r"\frac"),
    (r"\tfrac", r"\frac"),
    (r"\displaystyle", " "),
    (r"\quad", " "),
    (r"\qquad", " "),
    ("~", " "),
    (r"\,", " "),
    ("$", " "),
)

_OPENERS = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lgroup": r"\rgroup", r"\lbrace": r"\rbrace"}
_OPENERS |= {r"\lbrack": r"\rbrack", r"\lfloor": r"\rfloor"}
_OPENERS |= {rf"\left{opener}": rf"\right{closer}" for opener, closer in _OPENERS.items()}
_FLOORS = (r"\lfloor", r"\left\lfloor")
_CONSTANTS = {r"\pi": math.pi, r"\tau": math.tau}
_TIMES = ("*", r"\times", r"\cdot")
_OVER = ("/", r"\div", r"\over", ":")
_COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": lambda left, right: left < right,
    r"\le": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    r"\ge": lambda left, right: left >= right,
}
_COMPARE |= {r"\leq": _COMPARE[r"\le"], r"\leqslant": _COMPARE[r"\le"]}
_COMPARE |= {r"\geq": _COMPARE[r"\ge"], r"\geqslant": _COMPARE[r"\ge"]}
_PLAIN_FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    r"\exp": lambda exponent: _e_to(exponent),
    r"\floor": math.floor,
    r"\arcsin": math.asin,
    r"\arccos": math.acos,
    r"\arctan": math.atan,
    r"\arsinh": math.asinh,
    r"\arcosh": math.acosh,
    r"\artanh": math.atanh,
    r"\arcsinh": math.asinh,
    r"\arccosh": math.acosh,
    r"\arctanh": math.atanh,
}
_WITH_INVERSE: dict[str, tuple[Callable[[Number], float], Callable[[Number], float]]] = {
    r"\sin": (math.sin, math.asin),
    r"\cos": (math.cos, math.acos),
    r"\tan": (math.tan, math.atan),
    r"\sinh": (math.sinh, math.asinh),
    r"\cosh": (math.cosh, math.acosh),
    r"\tanh": (math.tanh, math.atanh),
}
_FUNCTIONS = (r"\log", *_PLAIN_FUNCTIONS, *_WITH_INVERSE)
_FORMS = (r"\frac", r"\sqrt", r"\binom", r"\gcd", r"\lcm")
# What may stand after a complete expression and ends it without a fault. Some words are tokens of the original
# grammar, so `5rows` ends after the 5 while `5cm` continues with an unknown factor `c`.
_WORDS = "arcsinh arccosh arctanh arsinh arcosh artanh gcd lcm floor ceil eye zeros ones cols rows diag norm rank trace"
_WORDS += " tr rref hstack vstack orthogonalize orthogonal ortho orth nullspace diagonalize eigen eig svd"
_ENDS = (".", "&", r"\\", "_", r"\right", r"\to", r"\rightarrow", r"\choose", r"\rceil", *_WORDS.split())
_LITERALS = (*_OPENERS, *_OPENERS.values(), *_CONSTANTS, *_TIMES, *_OVER, *_COMPARE, *_FUNCTIONS, *_FORMS, *_ENDS)
_LITERALS += ("+", "-", "^", "!", ",", "'", "e", r"\dbinom", r"\tbinom")
_NUMBER = r"[0-9]*+(?:,[0-9]{3})*+\.[0-9]+|[0-9]++(?:,[0-9]{3})*+"
_TOKEN = re.compile(
    rf"[ \t\r\n]*+(?:(?P<percent>{_NUMBER})\\%|(?P<number>{_NUMBER})"
    rf"|(?P<literal>{'|'.join(re.escape(one) for one in sorted(set(_LITERALS), key=len, reverse=True))})|\Z)"
)
_SIDE = re.compile(r"\\m?(left|right)[ \t\r\n]*+")


class _Parser:
    """One pass over the text, one token ahead; every method returns the value of what it read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._token = ""  # the token ahead; "" at the end
        self._number: Number | None = None  # its value, if it is a number
        self._advance()

    def relation(self) -> Number:
        """A whole text: a sum, or one comparison of two sums, which is 1 or 0."""
        found = self._sum()
        compare = _COMPARE.get(self._token)
        if compare is not None:
            self._advance()
            found = int(compare(found, self._sum()))
        if self._token == ",":
            raise _NoValue("a list")
        return found

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise _NoValue("an unknown sign")
        self._position = match.end()
        written = match["number"] or match["percent"]
        self._number = None if written is None else _exact(written, percent=match["percent"] is not None)
        self._token = written or match["literal"] or ""

    def _take(self, token: str) -> bool:
        if self._token != token:
            return False
        self._advance()
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise _NoValue(f"{token} is missing")

    def _sum(self) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NoValue("nested too deeply")
        total = self._product()
        while self._token in ("+", "-"):
            sign = self._token
            self._advance()
            right = self._product()
            total = _bounded(total + right if sign == "+" else total - right)
        self._depth -= 1
        return total

    def _product(self, *, in_function: bool = False) -> Number:
        total = self._signed(in_function)
        while self._token in _TIMES or self._token in _OVER:
            times = self._token in _TIMES
            self._advance()
            right = self._signed(in_function)
            total = _bounded(total * right) if times else total / right
        return total

    def _signed(self, in_function: bool) -> Number:
        sign = 1
        while self._token in ("+", "-"):
            sign = -sign if self._token == "-" else sign
            self._advance()
        total = self._postfix()
        while self._starts_factor(in_function):
            total = _bounded(total * self._postfix())
        return -total if sign < 0 else total

    def _starts_factor(self, in_function: bool) -> bool:
        """Whether the token ahead multiplies; an argument without brackets ends before the next function."""
        if self._number is not None or self._token in _OPENERS or self._token in _CONSTANTS:
            return True
        if self._token in (r"\frac", r"\binom", r"\dbinom", r"\tbinom"):
            return True
        return not in_function and (self._token in _FUNCTIONS or self._token in _FORMS or self._token == "e")

    def _postfix(self) -> Number:
        total = self._atom()
        while self._take("^"):
            total = _power(total, self._exponent())
        while self._token in ("!", "'"):  # a prime transposes, which changes no number
            total = _factorial(total) if self._token == "!" else total
            self._advance()
        return total

    def _exponent(self) -> Number:
        """What follows `^`: one number or constant, or anything in braces."""
        if self._number is not None or self._token in _CONSTANTS:
            return self._atom()
        return self._braced()

    def _braced(self) -> Number:
        self._expect("{")
        found = self._sum()
        self._expect("}")
        return found

    def _atom(self) -> Number:
        token, number = self._token, self._number
        if number is None and token not in _OPENERS and token not in _ATOMS:
            raise _NoValue("an expression is missing")
        self._advance()
        if number is not None:
            return number
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if token in _OPENERS:
            found = self._sum()
            self._expect(_OPENERS[token])
            return math.floor(found) if token in _FLOORS else found
        if token in _FUNCTIONS:
            return self._function(token)
        if token == "e":
            self._expect("^")
            return _e_to(self._exponent())
        return self._form(token)

    def _form(self, token: str) -> Number:
        if token == r"\sqrt":
            root: Number = 2
            if self._take("["):
                root = self._sum()
                self._expect("]")
            return _power(self._braced(), 1 / root)
        if token in (r"\gcd", r"\lcm"):
            found = self._integers()
            return math.gcd(*found) if token == r"\gcd" else _bounded(math.lcm(*found))
        first, second = self._braced(), self._braced()
        return first / second if token == r"\frac" else _binomial(first, second)

    def _integers(self) -> list[int]:
        self._expect("(")
        found = [self._sum()]
        while self._take(","):
            found.append(self._sum())
        self._expect(")")
        if not all(float(one).is_integer() for one in found):
            raise _NoValue("not an integer")
        return [int(one) for one in found]

    def _function(self, name: str) -> Number:
        r"""A function and its argument: `\log_2 8`, `\sin^2(x)`, `\tan^{-1} 1`."""
        base: Number = 10
        if name == r"\log" and self._take("_"):
            base = self._exponent()
        exponent = self._exponent() if self._take("^") else None
        argument = self._argument()
        if name == r"\log":
            found: Number = math.log(argument) / math.log(base)
        elif name in _WITH_INVERSE:
            function, inverse = _WITH_INVERSE[name]
            if exponent == -1:
                return inverse(argument)
            found = function(argument)
        else:
            found = _PLAIN_FUNCTIONS[name](argument)
        return found if exponent is None else _power(found, exponent)

    def _argument(self) -> Number:
        if self._token in ("(", r"\left("):
            return self._atom()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NoValue("nested too deeply")
        found = self._product(in_function=True)
        self._depth -= 1
        return found


_ATOMS = {*_CONSTANTS, *_FUNCTIONS, *_FORMS, r"\dbinom", r"\tbinom", "e"}


def _exact(written: str, *, percent: bool) -> Number:
    if len(written) > MAX_DIGITS:
        raise _NoValue("too many digits")
    found = Fraction(written.replace(",", "")) / (100 if percent else 1)
    return found.numerator if found.denominator == 1 else found.numerator / found.denominator


def _bounded(found: Number) -> Number:
    if isinstance(found, int) and found.bit_length() > MAX_BITS:
        raise _NoValue("too large")
    return found


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise _NoValue("too large")
    found = base**exponent
    if isinstance(found, complex):
        raise _NoValue("complex")
    return found


def _factorial(found: Number) -> int:
    if not isinstance(found, int) or not 0 <= found <= MAX_FACTORIAL:
        raise _NoValue("no factorial")
    return math.factorial(found)


def _binomial(n: Number, k: Number) -> int:
    if not isinstance(n, int) or not isinstance(k, int) or not 0 <= n <= MAX_FACTORIAL or k < 0:
        raise _NoValue("no binomial coefficient")
    return math.comb(n, k)


def _e_to(exponent: Number) -> Number:
    """The number e to a power; the original prints e itself as a name that has no value."""
    if isinstance(exponent, int) and exponent in (0, 1):
        if exponent:
            raise _NoValue("e alone has no value")
        return 1
    return math.exp(exponent)
