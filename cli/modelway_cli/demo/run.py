"""The demo from start to end: backends, gateway and loop, traffic, two edits of one line, and the books at the end."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console

from modelway_cli.demo import scenario
from modelway_cli.demo.figures import Figures
from modelway_cli.demo.files import POLICY, DemoFiles, examples_folder
from modelway_cli.demo.process import StandaloneProcess
from modelway_cli.demo.progress import Progress, read_progress
from modelway_cli.demo.recount import faults, recount
from modelway_cli.demo.scenario import Trial
from modelway_cli.demo.summary import print_next_steps, print_playground, print_summary
from modelway_cli.demo.timeline import Course
from modelway_cli.demo.view import View
from modelway_cli.errors import CliError
from modelway_cli.simulator.behaviour import Behaviour, changed
from modelway_cli.simulator.server import SimulatedLLM
from modelway_cli.traffic.plan import MAX_DURATION_SECONDS, TrafficPlan
from modelway_cli.traffic.run import run_traffic

POLL_SECONDS: Final = 0.2
BEFORE_SECONDS: Final = 2.0
"""Traffic on what is stable before the first change, so that there is something to see."""
AFTER_SECONDS: Final = 2.0
READY_SECONDS: Final = 30.0
TRIAL_INTERVALS: Final = 120
"""A rollout that has no verdict after so many intervals gets none."""


class ViewMaker(Protocol):
    """Makes what the demo is shown on."""

    def __call__(self, console: Console, *, clock: Callable[[], float]) -> View: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    swap: bool = False
    seconds_per_interval: float = 1.0
    keep: bool = False


async def run_demo(options: Options, console: Console, *, show_on: ViewMaker = View) -> int:
    """Show all of it; the exit status: 0 if the verdicts came as they had to, 1 if not, 130 if interrupted."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted.set)
    showing = asyncio.create_task(_show(options, console, show_on))
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({showing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    showing.cancel()
    waiting.cancel()
    try:
        return await showing
    except asyncio.CancelledError:
        return 130


async def _show(options: Options, console: Console, show_on: ViewMaker) -> int:
    clock = asyncio.get_running_loop().time
    began = clock()
    trials = scenario.trials(swap=options.swap)
    async with contextlib.AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="modelway-demo-")))
        view = exits.enter_context(show_on(console, clock=clock))
        files = DemoFiles(examples_folder(), folder / "canary")
        backends = await _start_backends(trials, exits)
        _introduce(view, files, backends, options)
        standalone = await exits.enter_async_context(
            StandaloneProcess(
                files.folder,
                folder / "run.log",
                services={f"llm-{_suffix(model)}:8000": _place(llm) for model, llm in backends.items()},
                seconds_per_interval=options.seconds_per_interval,
            )
        )
        await _ready(standalone)
        figures = Figures(clock)
        async with _traffic(standalone.client_url, figures):
            view.say(f"Ready: {scenario.CLIENTS} clients ask for {scenario.PUBLIC_NAME} at {standalone.client_url}")
            await asyncio.sleep(BEFORE_SECONDS)
            courses = [
                await _try(trial, number, len(trials), files, standalone, figures, view, options)
                for number, trial in enumerate(trials, start=1)
            ]
            await asyncio.sleep(AFTER_SECONDS)
        view.end_panel()
        lines = recount(figures, {model: llm.stats.view() for model, llm in backends.items()})
        found = faults(courses, lines)
        print_summary(console, courses, lines, found, seconds=clock() - began)
        if options.keep:
            urls = {model: llm.root_url for model, llm in backends.items()}
            print_playground(console, folder=files.folder, client_url=standalone.client_url, backends=urls)
            async with _traffic(standalone.client_url, figures):
                with contextlib.suppress(asyncio.CancelledError):  # an interrupt is how this is meant to end
                    await asyncio.Event().wait()
        else:
            print_next_steps(console)
    return 1 if found else 0


async def _start_backends(trials: Sequence[Trial], exits: contextlib.AsyncExitStack) -> dict[str, SimulatedLLM]:
    """One simulated LLM for each version."""
    behaviours = {scenario.FIRST: scenario.GOOD} | {trial.candidate: trial.behaviour for trial in trials}
    return {
        model: await exits.enter_async_context(SimulatedLLM(_named(behaviour, model, seed)))
        for seed, (model, behaviour) in enumerate(behaviours.items(), start=1)
    }


def _named(behaviour: Behaviour, model: str, seed: int) -> Behaviour:
    return changed(behaviour, {"models": (model,), "version_label": _suffix(model), "seed": seed})


def _introduce(view: View, files: DemoFiles, backends: dict[str, SimulatedLLM], options: Options) -> None:
    places = ", ".join(f"llm-{_suffix(model)} at {_place(llm)}" for model, llm in backends.items())
    view.say(
        "A canary, for real and without a cluster: simulated backends, the gateway, the control loop, clients", "bold"
    )
    view.say(f"Backends: {places}")
    edit = files.set_interval(options.seconds_per_interval)
    view.say(f"Manifests: examples/canary, copied to {files.folder}, with one number changed to be quick:")
    view.show_edit(f"  {POLICY}", edit)


async def _ready(standalone: StandaloneProcess) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while (progress := _progress(standalone)) is None or not progress.is_ready:
                standalone.check()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise CliError(f"the policy was not ready within {READY_SECONDS:g} s:\n{standalone.last_lines()}") from None


def _progress(standalone: StandaloneProcess) -> Progress | None:
    raw = standalone.policy(scenario.PUBLIC_NAME)
    return None if raw is None else read_progress(raw)


@contextlib.asynccontextmanager
async def _traffic(url: str, figures: Figures) -> AsyncIterator[None]:
    """Clients at work while the block runs; leaving it waits for their last answers."""
    plan = TrafficPlan(
        url=url,
        model=scenario.PUBLIC_NAME,
        concurrency=scenario.CLIENTS,
        stream_share=scenario.STREAM_SHARE,
        duration_seconds=MAX_DURATION_SECONDS,
    )
    enough = asyncio.Event()
    sending = asyncio.create_task(run_traffic(plan, figures.take, enough=enough))
    try:
        yield
    finally:
        enough.set()
        await sending


async def _try(
    trial: Trial,
    number: int,
    of: int,
    files: DemoFiles,
    standalone: StandaloneProcess,
    figures: Figures,
    view: View,
    options: Options,
) -> Course:
    """One rollout: change the line, watch until there is a verdict."""
    clock = asyncio.get_running_loop().time
    before = _progress(standalone)
    course = Course(trial=trial, stable=scenario.FIRST if before is None else before.stable)
    title = f"{number} of {of}: {course.stable} → {trial.candidate}"
    view.say(f"{title}, {trial.description}", "bold")
    view.show_edit(f"  {POLICY}", files.set_model(trial.candidate))
    began = clock()
    while course.verdict is None and clock() - began < TRIAL_INTERVALS * options.seconds_per_interval:
        standalone.check()
        progress = _progress(standalone)
        if progress is not None:
            seen = len(course.weights)
            course.take(progress, seconds=clock() - began)
            view.show(course, progress, figures, title=title)
            if len(course.weights) > seen and view.is_live:
                view.say(f"{trial.candidate} gets {course.weights[-1][1]:g} %")
        await asyncio.sleep(POLL_SECONDS)
    view.end_panel()
    if course.verdict is None:
        view.say(
            f"{trial.candidate} has no verdict after {TRIAL_INTERVALS} intervals. What modelway run said last:", "red"
        )
        view.say(standalone.last_lines())
    else:
        style = "green" if course.is_as_expected else "red"
        view.say(f"{trial.candidate} {course.verdict.words}: {course.message}", style)
    return course


def _place(llm: SimulatedLLM) -> str:
    return llm.root_url.removeprefix("http://")


def _suffix(model: str) -> str:
    return model.rpartition("-")[2]
