"""The catalogue of promises, faults, bad inputs and scenarios is complete, and every test it names exists."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE: dict[str, Any] = tomllib.loads((ROOT / "tests" / "catalogue.toml").read_text())
DESIGN = ROOT.parent / "shared" / "design"

# What this release promises to cover; a later one may only add.
COVERED = {
    *("P6", "P9", "P14", "P22", "P25", "F33", "F36", "A1", "A3", "A11", "A22", "B74"),
    "P1",
    "P2",
    "P3",
    "P5",
    "F01",
    "F03",
    "F05",
    "F07",
    "F08",
    "F09",
    "F10",
    "F11",
    "F12",
    "F13",
    "P8",
    "F02",
    "F15",
    "P21",
    "F17",
    "F18",
    "B07",
    "B08",
    "B26",
    "B27",
    "B28",
    "F19",
    "F34",
    "F35",
    "F37",
    "F38",
    "A2",
    "A6",
    "A8",
    "A9",
    "A10",
    "A14",
    "A23",
    "P11",
    "P12",
    "P13",
    "P17",
    "P18",
    "P20",
    "F23",
    "F26",
    "F28",
    "F29",
    "F42",
    "F43",
    "F45",
    "F58",
    "F22",
    "F24",
    "F25",
    "F27",
    "F30",
    "F31",
    "F41",
    "F44",
    "F46",
    "F49",
    "F57",
    *(f"B{n:02}" for n in (1, 2, 4, 5, 6, 9, 10, 11, 12, 17, 18, 22)),
    *(f"B{n}" for n in (*range(29, 35), *range(36, 43), *range(57, 63))),
}


def _functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_entry_is_planned_or_names_an_existing_test_and_a_mutation(name: str) -> None:
    """`planned`, or rung, test and the mutation that breaks it."""
    entry = CATALOGUE[name]
    if entry == "planned":
        return
    assert {"rung", "test", "mutation"} == set(entry)
    assert entry["rung"] in {"unit", "integration", "cluster"}
    assert len(entry["mutation"]) > 10
    path, _, function = entry["test"].partition("::")
    assert function.partition("[")[0] in _functions(ROOT / path)


def test_what_this_release_promises_is_covered() -> None:
    """Every identifier of this release has a test."""
    assert [] == sorted(name for name in COVERED if CATALOGUE.get(name, "planned") == "planned")


def test_every_identifier_of_the_design_is_in_the_catalogue() -> None:
    """P, F and B rows of the faults page and A scenarios of the rollouts page, none forgotten."""
    if not DESIGN.is_dir():
        pytest.skip("the design pages are not beside this checkout")
    faults = (DESIGN / "faults.md").read_text()
    wanted = set(re.findall(r"^\| ([PF]\d+) \|", faults, re.MULTILINE)) | set(
        re.findall(r"^- (B\d+) ", faults, re.MULTILINE)
    )
    wanted |= set(re.findall(r"\b(A\d+)\b", (DESIGN / "rollouts.md").read_text()))

    assert set() == wanted - set(CATALOGUE)
