"""`modelway run`: the flags of the standalone runner."""

from pathlib import Path
from typing import Annotated, Final

import typer

from modelway_cli.errors import UsageError

PLACES: Final = "Places"
METRICS: Final = "Metrics"


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("run")(run)


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of manifests: *.yaml, *.yml, *.json.")],
    *,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            "-s",
            metavar="[NAMESPACE/]NAME:PORT=HOST:PORT",
            help="Where a Service that a serviceRef names is on this machine; repeatable.",
            show_default=False,
            rich_help_panel=PLACES,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on, for clients and metrics.", rich_help_panel=PLACES)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for clients; 0 takes a free one.", rich_help_panel=PLACES)
    ] = 8080,
    metrics_port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port for health and metrics; 0 takes a free one.", rich_help_panel=PLACES),
    ] = 9090,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where statuses and remembered versions are kept.",
            show_default="DIR/.modelway",
            rich_help_panel=PLACES,
        ),
    ] = None,
    anonymous_namespace: Annotated[
        str | None,
        typer.Option(help="Namespace of clients without a key.", show_default="a key is required"),
    ] = None,
    gateway: Annotated[str, typer.Option(help="Serve the objects with this spec.gateway.")] = "default",
    prometheus: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Judge rollouts by this Prometheus, which scrapes the metrics port.",
            show_default="by the gateway's own counters",
            rich_help_panel=METRICS,
        ),
    ] = None,
    scrape_interval: Annotated[
        str,
        typer.Option(
            help="How often the metrics are read (by Prometheus: as it is set there). A rollout's interval is at least"
            " four of them.",
            rich_help_panel=METRICS,
        ),
    ] = "5s",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that is logged.")] = False,
    parent: Annotated[
        int | None, typer.Option(metavar="PID", help="End when this is not the parent any more.", hidden=True)
    ] = None,
) -> None:
    """Serve the manifests in a folder, without a cluster.

    LLMModels, RoutingPolicies, Secrets and ConfigMaps in DIR are taken as
    they are; a change of a file is a `kubectl apply`. Everything that needs
    a namespace and names none is in `default`. The same manifests work in a
    cluster, where --service has no counterpart: the Services are there.

    \b
    [bold]Examples[/bold]
    The canary of this repository, with backends on this machine:
      modelway run examples/canary --anonymous-namespace default \\
        --service llm-v1:8000=127.0.0.1:9001 \\
        --service llm-v2:8000=127.0.0.1:9002 \\
        --service llm-v3:8000=127.0.0.1:9003
    How it is doing, from another terminal:
      modelway get examples/canary -w
    """  # noqa: D301 - \b is typer's mark for lines to keep
    from modelway_cli.standalone.runner import Options, run_folder
    from modelway_cli.standalone.services import parse_service
    from modelway_operator.api.quantities import Duration

    try:
        scrape_seconds = Duration(scrape_interval).seconds
    except ValueError as error:
        raise UsageError(f"--scrape-interval {scrape_interval}: {error}") from None
    run_folder(
        Options(
            folder=folder,
            state=state,
            services=tuple(map(parse_service, service or ())),
            host=host,
            port=port,
            metrics_port=metrics_port,
            gateway_name=gateway,
            anonymous_namespace=anonymous_namespace,
            prometheus_url=prometheus,
            scrape_seconds=scrape_seconds,
            verbose=verbose,
            parent=parent,
        )
    )
