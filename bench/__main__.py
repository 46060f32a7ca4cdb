"""`python -m bench`: measures, prints the table, writes the record and its picture."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench import contestants, host, page, picture, record, table
from bench.interpreter import describe, gateway_python
from bench.native import UnmeasurableError, built
from bench.plan import HOLD, TESTS
from bench.record import Record
from bench.rounds import Run, Tools
from bench.windows import LoadFailedError

LATEST: Final = page.ROOT / "build" / "bench.json"
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 1


def main() -> int:
    """Measure, or say why not."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Modelway's gateway beside nginx.")
    parser.add_argument("--quick", action="store_true", help="one round: figures to look at, not to quote")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}")
    parser.add_argument("--record", type=Path, default=LATEST, help="where to write (default: build/bench.json)")
    parser.add_argument("--python", help="an interpreter to run the gateway on (default: this one); see interpreter.py")
    parser.add_argument("--publish", type=Path, metavar="RECORD", help="measure nothing; put it into the docs")
    options = parser.parse_args()
    if options.publish:
        page.publish(options.publish)
        return 0
    try:
        _check_host()
        python = gateway_python(options.python)
        found = run(options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS), python=python)
    except (UnmeasurableError, LoadFailedError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    record.write(found, options.record)
    drawn = options.record.with_suffix(".svg")
    drawn.write_text(picture.draw(found), encoding="utf-8")
    print(f"\n{table.as_text(found)}\n\nwritten: {options.record} and {drawn.name}")
    return 0


def run(rounds: int, *, python: str) -> Record:
    """Start everything, measure, stop everything."""
    programs, commit = built(), _commit()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelway-bench-")))
        upstream = stack.enter_context(contestants.upstream(programs))
        gateways = [
            stack.enter_context(contestants.nginx(folder, upstream.port)),
            stack.enter_context(contestants.modelway(folder, upstream.port, python=python)),
        ]
        tools = Tools(programs=programs, folder=folder, key=contestants.api_key())
        done = Run(tools, upstream=upstream, gateways=gateways)
        print(f"measuring nginx and Modelway in turns, {rounds} rounds; {host.name()}", file=sys.stderr, flush=True)
        done.hold_streams(HOLD)
        done.measure(TESTS, rounds=rounds)
    return Record(
        machine=host.name(),
        python=describe(python),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        modelway=f"Modelway {version('modelway')} at {commit}",
        nginx=_nginx_version(),
        rounds=rounds,
        figures=done.figures,
        foreign_shares=[round(each, 3) for each in done.foreign_shares],
        fixed_work_us=[round(each) for each in done.fixed_work_us],
        retaken=done.retaken,
    )


def _check_host() -> None:
    contestants.nginx_program()
    if sys.platform != "linux" or not {contestants.LOAD_CORE, contestants.GATEWAY_CORE} <= os.sched_getaffinity(0):
        raise UnmeasurableError("two cores of a Linux machine are needed: one for the load, one for the gateways")
    host.allow_many_files()
    host.take_precedence(os.getpid())


def _nginx_version() -> str:
    done = subprocess.run([contestants.nginx_program(), "-v"], capture_output=True, text=True, check=True)
    return done.stderr.partition(": ")[2].strip()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "a commit unknown"


if __name__ == "__main__":
    sys.exit(main())
