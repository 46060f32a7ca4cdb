"""The source roots hold packages only, so none of them can shadow the standard library."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["contract", "operator", "gateway", "cli"])
def test_source_root_holds_no_python_file(name: str) -> None:
    """A loose module there would be importable under its bare name."""
    assert [] == sorted(path.name for path in (ROOT / name).glob("*.py*"))


def test_standard_library_operator_wins_in_the_repository_root() -> None:
    """`python -c` puts the working directory first on sys.path."""
    code = "import operator; print(operator.add(1, 2))"

    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ("3\n", "") == (out.stdout, out.stderr)
