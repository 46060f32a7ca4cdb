"""`modelway client create`, with --apply against an API server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from modelway_cli.client.cluster import create_secret
from modelway_cli.client.secret import NewClient, secret_manifest
from modelway_cli.errors import CliError

from tests.integration.standalone.commands import run

KEY = "mw-a-key-of-a-client"


@asynccontextmanager
async def api_server(kubeconfig: Path, *, status: int = 201) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    """An API server that gives this answer to everything; yields what it was sent. Writes its kubeconfig."""
    sent: list[tuple[str, dict[str, Any]]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        sent.append((request.path, body))
        return web.json_response(body if status == 201 else {"kind": "Status", "message": str(body)}, status=status)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await asyncio.to_thread(write_kubeconfig, kubeconfig, runner.addresses[0][1])
    try:
        yield sent
    finally:
        await runner.cleanup()


def write_kubeconfig(path: Path, port: int) -> None:
    context = {"cluster": "here", "user": "me", "namespace": "team-b"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": context}],
    }
    path.write_text(yaml.safe_dump(content))


async def test_the_manifest_is_all_that_is_on_standard_output() -> None:
    """So that it can be piped into kubectl or sealed; the advice goes to standard error and names no key."""
    ended = await run("client", "create", "search", "--namespace", "team-a", "--groups", "eu,batch", "--tier", "gold")
    manifest = yaml.safe_load(ended.out)

    assert 0 == ended.status
    assert ("Secret", "search", "team-a") == (
        manifest["kind"],
        manifest["metadata"]["name"],
        manifest["metadata"]["namespace"],
    )
    assert manifest["stringData"]["api-key"].startswith("mw-")
    assert "mw-" not in ended.err


async def test_apply_creates_the_secret_and_prints_the_key_once(tmp_path: Path) -> None:
    """The key alone is on standard output, so that a script can keep it."""
    kubeconfig = tmp_path / "config"
    async with api_server(kubeconfig) as sent:
        ended = await run("client", "create", "search", "-n", "team-a", "--apply", "--kubeconfig", str(kubeconfig))

    ((path, body),) = sent
    assert "/api/v1/namespaces/team-a/secrets" == path
    assert f"{body['stringData']['api-key']}\n" == ended.out
    assert (0, True) == (ended.status, ended.err.startswith("Secret team-a/search is created."))
    assert "mw-" not in ended.err


async def test_without_a_namespace_it_is_the_kubeconfigs(tmp_path: Path) -> None:
    """As kubectl does it."""
    kubeconfig = tmp_path / "config"
    async with api_server(kubeconfig) as sent:
        namespace = await create(kubeconfig)

    ((path, _),) = sent
    assert ("team-b", "/api/v1/namespaces/team-b/secrets") == (namespace, path)


async def create(kubeconfig: Path) -> str:
    manifest = secret_manifest(NewClient(name="search"), KEY)
    return await asyncio.to_thread(create_secret, manifest, kubeconfig=kubeconfig, context=None)


@pytest.mark.parametrize(
    ("status", "says"),
    [(409, "exists already"), (404, "no namespace team-b"), (403, "may not create"), (422, "HTTP 422")],
)
async def test_a_refusal_shows_no_key(tmp_path: Path, status: int, says: str) -> None:
    """An existing Secret stays as it is; no refusal repeats the key, though the server's answer does."""
    kubeconfig = tmp_path / "config"
    async with api_server(kubeconfig, status=status):
        with pytest.raises(CliError, match=says) as refusal:
            await create(kubeconfig)

    assert KEY not in str(refusal.value)


async def test_no_cluster_is_one_sentence(tmp_path: Path) -> None:
    """Neither a missing kubeconfig nor a server that is away is a traceback."""
    kubeconfig = tmp_path / "config"
    with pytest.raises(CliError, match="--kubeconfig"):
        await create(kubeconfig)
    async with api_server(kubeconfig):
        pass
    with pytest.raises(CliError, match="gave no answer"):
        await create(kubeconfig)


async def test_a_cluster_option_without_apply_is_refused() -> None:
    """Or one would believe that something was created."""
    ended = await run("client", "create", "search", "--context", "here")

    assert (2, "") == (ended.status, ended.out)
    assert "--apply" in ended.err
