"""The comparison of evaluators with OSWorld's finds what differs; a stand-in takes the place of OSWorld's module."""

from __future__ import annotations

from pathlib import Path

from tools.osworld_metrics import SOURCE, differences, original_metrics

STAND_IN = """
import no_such_package

def exact_match(result, rules) -> float:
    return float(result == rules["expected"])

def check_include_exclude(result: str, rules: Dict[str, List[str]]) -> float:
    include, exclude = rules.get("include", []), rules.get("exclude", [])
    return float(all(text in result for text in include) and all(text not in result for text in exclude))

def file_contains(path, config):
    with open(path) as file:
        text = file.read()
    return float({how}(part in text for part in config["expected"]))
"""


def found(folder: Path, how: str) -> list[str]:
    path = folder / SOURCE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN.replace("{how}", how))
    return list(differences(original_metrics(folder), count=200))


def test_only_a_function_that_differs_is_named(tmp_path: Path) -> None:
    assert found(tmp_path, "all") == []
    assert {line.partition(":")[0] for line in found(tmp_path, "any")} == {"file_contains"}
