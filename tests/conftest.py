"""What holds for every rung: in CI a skip, an xfail or a deselected test fails the run, but for `allowed_skips.toml`.

The one rule: a run never passes by leaving something out, nor when it wrote a prompt down (`tests/support/search.py`).
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import search

ALLOWED = Path(__file__).with_name("allowed_skips.toml")

_left_out: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Search for prompts whatever is run."""
    config.pluginmanager.register(search)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what did not run, and why."""
    if report.skipped:
        _left_out[report.nodeid] = str(report.longrepr)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note what was not even chosen."""
    _left_out.update({item.nodeid: "deselected" for item in items})


def unexplained(left_out: dict[str, str], allowed: dict[str, str]) -> Iterator[str]:
    """Name each test that was left out without a reason on the list."""
    for nodeid, reason in sorted(left_out.items()):
        if nodeid not in allowed:
            yield f"{nodeid}: {reason}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a passing run into a failing one when it left something out (CI only)."""
    if os.environ.get("CI") != "true" or exitstatus != pytest.ExitCode.OK:
        return
    lines = list(unexplained(_left_out, tomllib.loads(ALLOWED.read_text())))
    if lines:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")
            reporter.write_line("CI never passes by leaving tests out; these did not run:", red=True)
            for line in lines:
                reporter.write_line(f"  {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
