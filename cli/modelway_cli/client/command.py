"""`modelway client create`: a key for a client, as a manifest or in the cluster."""

from pathlib import Path
from typing import Annotated, Final

import typer

from modelway_cli.errors import UsageError
from modelway_contract.config import Priority

CLUSTER: Final = "In the cluster"


def register(app: typer.Typer) -> None:
    """Adds the command group to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Make keys for clients.")
    group.command("create")(create)
    app.add_typer(group, name="client")


def create(
    name: Annotated[str, typer.Argument(help="Name of the client, and of the Secret that holds its key.")],
    *,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace whose models the client may use.",
            show_default="wherever it is applied; with --apply, the kubeconfig's",
        ),
    ] = None,
    groups: Annotated[str, typer.Option(metavar="A,B", help="Groups that rules may ask for.", show_default=False)] = "",
    tier: Annotated[str | None, typer.Option(help="Tier that rules may ask for.", show_default=False)] = None,
    priority: Annotated[
        Priority | None, typer.Option(help="How urgent the client's requests are.", show_default="Standard")
    ] = None,
    chooses_priority: Annotated[
        bool, typer.Option("--chooses-priority", help="Let a request name another priority, in x-priority.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Create the Secret and print the key alone.", rich_help_panel=CLUSTER)
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Kubeconfig to use.", show_default="$KUBECONFIG, then ~/.kube/config", rich_help_panel=CLUSTER
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(help="Context in it.", show_default="its current one", rich_help_panel=CLUSTER),
    ] = None,
) -> None:
    """Make a client: a key, in a Secret that the operator reads.

    Without --apply the Secret's manifest goes to standard output, the key
    in it: give it to whatever keeps your secrets, and take the key from
    there. With --apply the Secret is created (never written over) and the
    key is printed, this once.

    \b
    [bold]Examples[/bold]
    A key for the team's search service:
      KEY=$(modelway client create search --namespace team-a --apply)
    The same as a manifest, with what rules may ask for:
      modelway client create search -n team-a --groups eu,batch \\
        --tier gold > search.yaml
    A client for nightly jobs, whose requests may wait:
      modelway client create nightly -n team-a --priority Batch --apply
    """  # noqa: D301 - \b is typer's mark for lines to keep
    import sys

    import yaml

    from modelway_cli.client.cluster import create_secret
    from modelway_cli.client.secret import NewClient, new_key, parse_groups, secret_manifest

    if not apply and (kubeconfig is not None or context is not None):
        raise UsageError("--kubeconfig and --context need --apply; without it nothing is sent anywhere")
    client = NewClient(
        name=name,
        namespace=namespace,
        groups=parse_groups(groups),
        tier=tier,
        priority=priority,
        chooses_priority=chooses_priority,
    )
    key = new_key()
    manifest = secret_manifest(client, key)
    if apply:
        where = create_secret(manifest, kubeconfig=kubeconfig, context=context)
        print(f"Secret {where}/{name} is created. The client's key, shown this once:", file=sys.stderr)
        print(key)
        return
    print(yaml.safe_dump(manifest, sort_keys=False), end="")
    print(
        f"Nothing was sent anywhere: this manifest is the only copy of the key ({name}'s). Apply it, and do not"
        " commit it unencrypted.",
        file=sys.stderr,
    )
