"""`modelway traffic`: the flags, the run, and what is printed of it."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from modelway_cli.errors import CliError, UsageError
from modelway_cli.traffic.plan import DEFAULT_PROMPT, MAX_CONCURRENCY, TrafficPlan

if TYPE_CHECKING:
    from modelway_cli.traffic.report import TrafficReport

INTERRUPTED_STATUS: Final = 130
LOAD: Final = "Load"
REQUEST: Final = "Requests"
OUTPUT: Final = "Output"


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("traffic")(traffic)


def traffic(
    url: Annotated[
        str,
        typer.Argument(help="Base URL as an OpenAI SDK takes it; without a path, /v1 is meant.", show_default=False),
    ],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="Model to ask for.", show_default=False)],
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second, on a schedule that waits for no answer.", rich_help_panel=LOAD),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Clients that each send again when they have their answer. 1 when neither is given.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            help="Seconds in which requests are begun. 10 when neither this nor --requests is given.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", help="At most so many requests.", rich_help_panel=LOAD)
    ] = None,
    max_in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_CONCURRENCY,
            help="With --rate: requests open at once; one due beyond them fails as not_sent.",
            rich_help_panel=LOAD,
        ),
    ] = 512,
    timeout: Annotated[float, typer.Option(help="Seconds for a whole answer.", rich_help_panel=LOAD)] = 60.0,
    allow_public: Annotated[
        bool,
        typer.Option(
            "--allow-public",
            help="Let the load go to an address that is neither loopback nor private.",
            rich_help_panel=LOAD,
        ),
    ] = False,
    stream_share: Annotated[
        float, typer.Option(help="Share of requests, 0 to 1, that ask for a stream.", rich_help_panel=REQUEST)
    ] = 0.0,
    prompt: Annotated[
        str, typer.Option(help="What every request asks; the report does not repeat it.", rich_help_panel=REQUEST)
    ] = DEFAULT_PROMPT,
    session_count: Annotated[
        int, typer.Option(help="Distinct x-session-id values, used in turn; 0 sends none.", rich_help_panel=REQUEST)
    ] = 0,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="Header to send; repeatable.",
            show_default=False,
            rich_help_panel=REQUEST,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="MODELWAY_API_KEY",
            help="Key to send. Prefer the variable: other users can see arguments.",
            show_default=False,
            rich_help_panel=REQUEST,
        ),
    ] = None,
    json_to: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE|-",
            help="Write the report as JSON to a file, or to standard output instead of the table.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    fail_on_error: Annotated[
        bool, typer.Option("--fail-on-error", help="End with status 1 if any request failed.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Send chat requests to an OpenAI endpoint and say what came of them.

    A request counts as ok only with status 200 and a complete answer: a
    stream must end with a finish reason and [DONE]. Latencies are those of
    ok answers; with --rate they count from when a request was due, so a
    target that stands still cannot hide it.

    The status is 0 when the run took place, whatever the answers were (1
    with --fail-on-error if one failed), 2 when an option makes no sense, and
    130 when it was interrupted (the report then covers what was done).

    \b
    [bold]Examples[/bold]
    Twenty requests a second for a minute, half of them streams:
      modelway traffic http://127.0.0.1:8080 -m chat --rate 20 \\
        --duration 60 --stream-share 0.5
    A hundred requests from eight clients; fail if one of them fails:
      modelway traffic http://127.0.0.1:8080 -m chat --concurrency 8 \\
        -n 100 --session-count 10 --fail-on-error
    Who answered, for a script:
      export MODELWAY_API_KEY=...
      modelway traffic http://127.0.0.1:8080 -m chat -n 50 --json - |
        jq .by_model
    """  # noqa: D301 - \b is typer's mark for lines to keep
    import asyncio

    plan = TrafficPlan(
        url=url,
        model=model,
        rate=rate,
        concurrency=concurrency,
        duration_seconds=duration,
        requests=requests,
        stream_share=stream_share,
        session_count=session_count,
        prompt=prompt,
        api_key=api_key,
        headers=tuple(map(_parse_header, header or ())),
        timeout_seconds=timeout,
        max_in_flight=max_in_flight,
        allow_public=allow_public,
    )
    report, interrupted = asyncio.run(_run(plan))
    _show(report, json_to=json_to)
    if interrupted:
        raise typer.Exit(INTERRUPTED_STATUS)
    if fail_on_error and report.failed:
        raise typer.Exit(1)


def _parse_header(text: str) -> tuple[str, str]:
    """A header from `NAME=VALUE`; the message does not repeat it, since it may hold a secret."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError("--header must be NAME=VALUE with a valid header name")
    return name.strip(), value.strip()


async def _run(plan: TrafficPlan) -> tuple["TrafficReport", bool]:
    """Runs the plan with its progress on standard error; a signal ends it early."""
    import asyncio
    import signal

    from rich.console import Console

    from modelway_cli.traffic.display import Progress
    from modelway_cli.traffic.run import run_traffic

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with Progress(Console(stderr=True), expected=plan.scheduled, clock=loop.time) as progress:
        report = await run_traffic(plan, progress.take, stop=stop)
    return report, stop.is_set()


def _show(report: "TrafficReport", *, json_to: str | None) -> None:
    from pathlib import Path

    import msgspec
    from rich.console import Console

    from modelway_cli.traffic.display import summary_table

    console = Console(stderr=json_to == "-")
    console.print(f"{report.model} at {report.url}", markup=False, highlight=False, soft_wrap=True)
    console.print(summary_table(report))
    if json_to is None:
        return
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    if json_to == "-":
        print(text)
        return
    try:
        Path(json_to).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"cannot write {json_to}: {error.strerror}") from error
