"""`modelway simulate-llm`: the flags, and the server until a signal ends it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from modelway_cli.errors import UsageError
from modelway_cli.simulator.behaviour import Behaviour, ErrorMode, changed

DEFAULT: Final = Behaviour()
ANSWERS: Final = "Answers"
FAILURES: Final = "Failures"
SERVER: Final = "Server"


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("simulate-llm", no_args_is_help=False)(simulate_llm)


def simulate_llm(
    *,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Model name to serve; repeatable. Other names get 404.", show_default="simulated"
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(help="Tokens of an answer; one token is one streamed chunk.", rich_help_panel=ANSWERS)
    ] = DEFAULT.tokens,
    ttft_ms: Annotated[
        float, typer.Option(help="Median time to the first token, in milliseconds.", rich_help_panel=ANSWERS)
    ] = DEFAULT.ttft_ms,
    ttft_sigma: Annotated[
        float,
        typer.Option(
            help="Spread of that time: sigma of a log-normal factor (0.3 is typical, 0 none).", rich_help_panel=ANSWERS
        ),
    ] = DEFAULT.ttft_sigma,
    token_ms: Annotated[
        float, typer.Option(help="Time for each further token, in milliseconds.", rich_help_panel=ANSWERS)
    ] = DEFAULT.token_ms,
    slow_share: Annotated[
        float, typer.Option(help="Share of answers, 0 to 1, that start slowly.", rich_help_panel=ANSWERS)
    ] = DEFAULT.slow_share,
    slow_ttft_ms: Annotated[
        float, typer.Option(help="Median time to the first token of those.", rich_help_panel=ANSWERS)
    ] = DEFAULT.slow_ttft_ms,
    version_label: Annotated[
        str, typer.Option(help="What system_fingerprint says, to see who answered.", rich_help_panel=ANSWERS)
    ] = DEFAULT.version_label,
    seed: Annotated[
        int,
        typer.Option(help="Seed of every draw: the same seed, the same answers and failures.", rich_help_panel=ANSWERS),
    ] = DEFAULT.seed,
    error_rate: Annotated[
        float, typer.Option(help="Share of valid requests, 0 to 1, that fail.", rich_help_panel=FAILURES)
    ] = DEFAULT.error_rate,
    error_mode: Annotated[
        ErrorMode, typer.Option(help="How they fail.", rich_help_panel=FAILURES)
    ] = DEFAULT.error_mode,
    error_status: Annotated[
        int, typer.Option(help="The HTTP status of mode 'status', such as 500, 429 or 503.", rich_help_panel=FAILURES)
    ] = DEFAULT.error_status,
    error_after_tokens: Annotated[
        int,
        typer.Option(
            help="Tokens that a stream still delivers before it stalls, errs or is malformed.", rich_help_panel=FAILURES
        ),
    ] = DEFAULT.error_after_tokens,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=SERVER)] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port to listen on; 0 takes a free one and prints it.", rich_help_panel=SERVER
        ),
    ] = 9000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="MODELWAY_SIMULATOR_API_KEY",
            help="Key that clients must send; 401 otherwise. Prefer the variable: other users can see arguments.",
            show_default=False,
            rich_help_panel=SERVER,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM certificate (chain), to serve HTTPS.", rich_help_panel=SERVER)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of that certificate.", rich_help_panel=SERVER)] = None,
) -> None:
    """Run an OpenAI-compatible LLM backend that answers, and fails, as told.

    It serves /v1/chat/completions (plain and streaming) and /v1/models, and
    beside them /health, /metrics (Prometheus), /stats (what it has received;
    POST /stats/reset) and /behaviour. None of the latter asks for the key,
    so listen on an address that only you can reach.

    \b
    [bold]Examples[/bold]
    A backend with a realistic pace, on a free port:
      modelway simulate-llm --model small --port 0 \\
        --ttft-ms 300 --ttft-sigma 0.3 --token-ms 20
    One answer in twenty fails with 503:
      modelway simulate-llm --error-rate 0.05 --error-status 503
    Streams that turn into an error after three tokens:
      modelway simulate-llm --error-rate 1 --error-mode error-in-stream \\
        --error-after-tokens 3
    Change it while it runs (fields that are not named stay):
      curl -X PUT http://127.0.0.1:9000/behaviour -d '{"error_rate": 0.5}'
    """  # noqa: D301 - \b is typer's mark for lines to keep
    import asyncio

    behaviour = changed(
        DEFAULT,
        {
            "models": models or DEFAULT.models,
            "tokens": tokens,
            "ttft_ms": ttft_ms,
            "ttft_sigma": ttft_sigma,
            "token_ms": token_ms,
            "slow_share": slow_share,
            "slow_ttft_ms": slow_ttft_ms,
            "version_label": version_label,
            "seed": seed,
            "error_rate": error_rate,
            "error_mode": error_mode,
            "error_status": error_status,
            "error_after_tokens": error_after_tokens,
            "api_key": api_key,
        },
    )
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    asyncio.run(_serve(behaviour, host=host, port=port, tls=(tls_cert, tls_key) if tls_cert and tls_key else None))


async def _serve(behaviour: Behaviour, *, host: str, port: int, tls: tuple[Path, Path] | None) -> None:
    """Serves until SIGTERM or SIGINT, then lets answers that will end do so."""
    import asyncio
    import signal

    from modelway_cli.simulator.server import SimulatedLLM, tls_context

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    context = tls_context(*tls) if tls else None
    async with SimulatedLLM(behaviour, host=host, port=port, tls=context) as llm:
        print(f"Simulating {', '.join(behaviour.models)} at {llm.base_url}", flush=True)
        await ended.wait()
