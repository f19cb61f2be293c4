"""What a user reads is plain English: no pattern of the language guide matches, and errors have the form it asks for.

Read are the string literals with at least two blanks and the docstrings of the package (fields of f-strings as `X`),
its templates, and the Markdown of the repository; code spans and fenced blocks are left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvl_eval import errors
from kvl_eval.options import COMMANDS, OPTIONS, Option

ROOT = Path(__file__).resolve().parent.parent
STRING, DOCSTRING, MARKDOWN, HTML = "string", "docstring", "Markdown", "HTML"
PHRASES = ROOT / "tests/data/language/phrases.json"  # (row, file, words) of the table of rewrites
EVERYWHERE = (STRING, DOCSTRING, MARKDOWN, HTML)
BUT_DOCSTRINGS = (STRING, MARKDOWN, HTML)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A turn of phrase that is refused, and the kinds of text it is refused in."""

    expression: str
    kinds: Sequence[str] = EVERYWHERE


PATTERNS = {
    "is-no": Pattern(r"(?<!there )\b(is|are|was|were) no (?!longer\b|different\b|more\b|such\b|need\b|gold\b)[a-z]"),
    "go-on": Pattern(r"\b(go|goes|going|went) on\b"),
    "persons": Pattern(r"\b(nobody|whoever)\b|\bwho (is|are|wants|must|answers|reads)\b"),
    "there-is": Pattern(r"\bwhat (there is|is there|lies there|fits)\b|\bthat (are|is) there\b"),
    "is-neither": Pattern(r"\b(is|are|was|were|holds?|offers|names|has|have|needs?) neither\b|, in .?run.? neither\b"),
    "lies-stands": Pattern(
        r"\b(lies|lie|stands|stand) (in|beside|below|there|with|so far|under|here)\b", BUT_DOCSTRINGS
    ),
    "anew": Pattern(r"\banew\b|\bof one's own\b"),
    "from-on": Pattern(r"\bfrom [01] on\b"),
    "holds-no": Pattern(r"\bholds? (no|neither|nothing)\b", (STRING,)),
    "picture": Pattern(r"\bpictures?\b", BUT_DOCSTRINGS),
    "figures": Pattern(r"\bpublished figures?\b"),
    "told": Pattern(r"\b(is|are|was|were) told\b|\btold apart\b"),
    "tries": Pattern(r"\btries\b|\ba try\b"),
    "per-article": Pattern(
        r"\b(frames|files|tokens|seconds|line|process|budget|samples) a "
        r"(second|try|line|token|task|run|budget|question|sample|clip|page)\b"
    ),
    "genuine": Pattern(r"\bgenuine\b"),
}

# Files whose strings or text are data: prompts, tables of wordings, quotations. At most 15, each with its reason.
DATA = {
    "docs/guide/own_data.md": "names of columns",
    "kvl_eval/scorers/answers/wordings.py": "tables of wordings",
    "kvl_eval/scorers/document_answer.py": "prompt of a judge and its examples",
    "kvl_eval/scorers/mathvista_judge.py": "prompt of a judge and its examples",
    "kvl_eval/scorers/mmvet.py": "prompt of a judge and its examples",
    "kvl_eval/tasks/blink.py": "examples in the prompt of a judge",
    "results/demo/report.md": "names of fields that samples have",
}

# Codes of errors with nothing to do beyond what the message says. At most 20.
WITHOUT_FIX: set[str] = {
    "bad_response",
    "budget",
    "config.yaml",
    "content_filter",
    "data.corrupt",
    "data.field",
    "data.missing",
    "endpoint_error",
    "image.grid",
    "input.form",
    "media.corrupt",
    "media.empty",
    "media.missing",
    "media.too_large",
    "oom",
    "peer_failed",
    "rejected_request",
    "run.damaged",
    "worker_died",
    "X",  # what a script or a judge's last call says
}

MESSAGE_LENGTH = 100
DEFAULT = re.compile(r" \[default: [^]]*\]$")
# How the help of an option begins: with a verb, or with one of a few phrases.
HELP = re.compile(
    r"(Allow|Answer|Append|Compare|Compress|Compute|Continue|Create|Decode|Evaluate|Explain|Export|Generate|Give|Ignore|Include"
    r"|Keep|Limit|Listen|Load|Look|Map|Open|Pass|Prepare|Print|Read|Refuse|Replace|Reserve|Retry|Run"
    r"|Sample|Score|Send|Show|Shrink|Sort|Start|Stop|Take|Treat|Use|Write"
    r"|Model to evaluate|Size of the KV cache|At the budget, stop|Do not show|Also fail)\b.*"
)
MARKUP = re.compile(r"<style.*?</style>|<script.*?</script>|<[^>]*>|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
CODE = re.compile(r"^([ \t]*)(```|~~~).*?^\1\2|``.+?``|`[^`\n]*`", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a file, and the line it begins on."""

    file: str
    line: int
    kind: str
    text: str


def blanked(match: re.Match[str]) -> str:
    """A mark and as many line ends as the match has, so that lines keep their numbers."""
    return "X" + "\n" * match.group().count("\n")


def literals(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """(line, kind, text) of the docstrings and string literals of a module; fields of f-strings are `X`."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # of names, too
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        text = literal(node)
        if text is not None and id(node) not in parts:
            yield node.lineno, DOCSTRING if id(node) in docstrings else STRING, text


def literal(node: ast.AST) -> str | None:
    """The text of a string or f-string, whose fields become `X`; None for other nodes."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def package_texts() -> Iterator[Text]:
    for path in sorted((ROOT / "kvl_eval").rglob("*")):
        file = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            for line, kind, text in literals(ast.parse(path.read_text(encoding="utf-8"))):
                if kind == DOCSTRING or text.count(" ") >= 2:
                    yield Text(file, line, kind, text)
        elif path.suffix in (".j2", ".html"):
            yield Text(file, 1, HTML, MARKUP.sub(blanked, path.read_text(encoding="utf-8")))


def pages() -> Iterator[Text]:
    for path in sorted(ROOT.rglob("*.md")):
        file = path.relative_to(ROOT).as_posix()
        if not any(part.startswith(".") or part in ("node_modules", "site") for part in path.relative_to(ROOT).parts):
            text = path.read_text(encoding="utf-8")
            yield Text(
                file,
                1,
                MARKDOWN,
                re.split(r"^## \[?\d", text, flags=re.MULTILINE)[0] if file == "CHANGELOG.md" else text,
            )


def matches(text: Text) -> Iterator[str]:
    """`file:line: pattern: words` for each match of a pattern."""
    prose = CODE.sub(blanked, text.text)
    for name, pattern in PATTERNS.items():
        if text.kind in pattern.kinds:
            for match in re.finditer(pattern.expression, prose, re.IGNORECASE):
                line = text.line + prose.count("\n", 0, match.start())
                yield f"{text.file}:{line}: {name}: {match.group()}"


@dataclass(frozen=True, slots=True)
class Raised:
    """An error as the source builds it."""

    place: str
    code: str
    message: str
    has_fix: bool


def raised() -> Iterator[Raised]:
    """Every error the package builds with a literal message; a code that is computed has `X` in it."""
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.KvlEvalError)
    }
    for path in sorted((ROOT / "kvl_eval").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and len(node.args) > 1 and name_of(node.func) in kinds:
                code, message = (literal(argument) for argument in node.args[:2])
                has_fix = any(keyword.arg in ("fix", None) for keyword in node.keywords)
                if message is not None:
                    yield Raised(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", code or "X", message, has_fix)


def name_of(function: ast.expr) -> str:
    """The last name of `module.Name` or `Name`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


TEXTS = [*package_texts(), *pages()]
ERRORS = list(raised())


def test_no_text_uses_a_refused_phrase() -> None:
    wrong = [match for text in TEXTS if text.kind == DOCSTRING or text.file not in DATA for match in matches(text)]
    assert wrong == []


def test_exceptions_stay_few() -> None:
    assert len(DATA) <= 15
    assert len(WITHOUT_FIX) <= 20


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('raise X("c", "x is no folder")', "is-no", id="message"),
        pytest.param('"""One.\n\nIt goes on with a frame.\n"""', "go-on", id="docstring"),
        pytest.param('text = f"{n} frames a second of {path}"', "per-article", id="field-of-an-f-string"),
        pytest.param('text = f"the {kind} {name!r} holds no picture"', "holds-no", id="two-patterns"),
    ],
)
def test_a_refused_phrase_is_named_with_file_line_and_pattern(source: str, expected: str) -> None:
    texts = [Text("a.py", *parts) for parts in literals(ast.parse(source))]
    refusals = [refusal for text in texts for refusal in matches(text)]
    line = 3 if "\n" in source else 1
    assert any(refusal.startswith(f"a.py:{line}: {expected}: ") for refusal in refusals)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("run `what there is` now", id="code-span"),
        pytest.param("before\n\n```sh\nnobody --picture\n```\n", id="fenced-block"),
        pytest.param("there is no folder of this name", id="there-is-no"),
    ],
)
def test_code_and_plain_phrases_pass(text: str) -> None:
    assert list(matches(Text("a.md", 1, MARKDOWN, text))) == []


def test_messages_of_errors_are_short_and_have_no_full_stop() -> None:
    long = [error for error in ERRORS if len(error.message) > MESSAGE_LENGTH]
    stopped = [error for error in ERRORS if error.message.endswith(".")]
    assert (long, stopped) == ([], [])


def test_errors_say_what_to_do() -> None:
    assert [error for error in ERRORS if not error.has_fix and error.code not in WITHOUT_FIX] == []


def unwrapped(source: str) -> str:
    """Source with string literals that continue on the next line joined."""
    return re.sub(r'"\s*\n\s*r?f?"', "", source)


def sources() -> Iterator[tuple[str, str]]:
    """(file, text) of everything a user may read from."""
    for path in (*(ROOT / "kvl_eval").rglob("*"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        file = path.relative_to(ROOT).as_posix()
        if path.suffix in (".py", ".j2", ".html", ".md") and file != "CHANGELOG.md":
            yield file, unwrapped(path.read_text(encoding="utf-8"))


def test_phrases_that_were_rewritten_do_not_come_back() -> None:
    phrases = [phrase for _, _, phrase in json.loads(PHRASES.read_text(encoding="utf-8")) if len(phrase.split()) >= 4]
    assert [(file, phrase) for file, text in sources() for phrase in phrases if phrase in text] == []


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: f"{option.name}-{option.commands[0]}")
def test_the_help_of_an_option_is_a_sentence(option: Option) -> None:
    text = DEFAULT.sub("", option.help)
    assert HELP.match(text) and text.endswith(".") and len(text.split()) >= 4


def test_the_summary_of_a_command_is_whole() -> None:
    texts = [text for command in COMMANDS for text in (command.summary, *command.text) if text]
    assert [text for text in texts if "..." in text or not DEFAULT.sub("", text).endswith(".")] == []
