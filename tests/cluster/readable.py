"""Everything on a cluster that people and programs may read, and what its containers wrote while tests ran.

The one rule: nothing is left out because it could not hold a prompt; that is what the search is to show.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

import aiohttp

from modelway_contract.names import ADMIN_SERVER_NAME, BUNDLE_KEY, CONFIG_PATH, CONFIG_STATUS_PATH

from tests.cluster.api import Api
from tests.cluster.installation import MONITORING, SYSTEM, Installation, fetch
from tests.cluster.sampling import ADMIN_PORT, operator_context

Search = Callable[[str, bytes], None]

LOOK_SECONDS = 0.5
OVERLAP_BYTES = 4096
"""Of what was searched before: a word may begin there."""


def everything_readable(installation: Installation) -> dict[str, str]:
    """What may be read without being allowed to read Secrets, by where it stands."""
    cluster = installation.cluster
    found = {
        "objects": cluster.kubectl("get", "llmm,rpol,events,configmaps,pods,leases", "-A", "-o", "yaml"),
        "status of the release": cluster.helm("status", "modelway", "-n", SYSTEM),
        "series of Prometheus": _series(installation),
    }
    for pod in cluster.get("pods", "-n", SYSTEM)["items"]:
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        found[f"log of {name}"] = cluster.kubectl("logs", "-n", SYSTEM, name, "--all-containers")
        port = 8081 if "operator" in name else 9090
        found[f"metrics of {name}"] = fetch(f"http://{address}:{port}/metrics")
    if cluster.audit_log is not None:
        found["audit log"] = cluster.audit_log.read_text()
    return found


def everything_kept(installation: Installation) -> dict[str, str]:
    """Beside it, what only the operator and administrators read: Secrets, the bundle, dumps of gateways."""
    secrets = installation.cluster.get("secrets", "-A")["items"]
    found = {"secrets": json.dumps(secrets)}
    for secret in secrets:
        packed = (secret.get("data") or {}).get(BUNDLE_KEY)
        if packed is not None:
            name = secret["metadata"]["name"]
            found[f"bundle {name}"] = gzip.decompress(base64.b64decode(packed)).decode()
    return found | asyncio.run(_dumps(installation))


async def _dumps(installation: Installation) -> dict[str, str]:
    context = operator_context(Api(installation.cluster.kubeconfig), SYSTEM, "modelway")
    found = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), trust_env=False) as session:
        for address in installation.gateway_addresses():
            for path in (CONFIG_PATH, CONFIG_STATUS_PATH):
                url = f"https://{address}:{ADMIN_PORT}{path}"
                async with session.get(url, server_hostname=ADMIN_SERVER_NAME) as answer:
                    assert answer.status == 200
                    found[f"GET {path} of {address}"] = await answer.text()
    return found


def _series(installation: Installation) -> str:
    """Labels of every series that there was, of gateways that are gone too."""
    query = urlencode({"match[]": '{job="modelway"}'})
    return fetch(f"{installation.service_url(MONITORING, 'prometheus')}/api/v1/series?{query}")


class ContainerLogs:
    """Logs of all containers below a folder, read as they grow, so that those of deleted pods are read too."""

    def __init__(self, folder: Path, search: Search) -> None:
        self._folder = folder
        self._search = search
        self._open: dict[tuple[int, int], tuple[str, BinaryIO]] = {}
        self._unread: dict[tuple[int, int], bytes] = {}
        self._before: dict[tuple[int, int], bytes] = {}
        self._ended = threading.Event()

    @contextmanager
    def overheard(self) -> Iterator[None]:
        """Search them while the block lasts, and once more at its end."""
        thread = threading.Thread(target=self._keep_looking, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(60)
            self.look()
            for _, file in self._open.values():
                file.close()

    def _keep_looking(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Search what is new. A file that was once seen is read to its end though it has been removed or renamed."""
        for path in files_below(self._folder):
            try:
                place = path.stat()
                inode = (place.st_dev, place.st_ino)
                if inode not in self._open:
                    self._open[inode] = (str(path.relative_to(self._folder)), path.open("rb"))
            except OSError:
                continue  # it has gone meanwhile
        for inode, (name, file) in self._open.items():
            data = self._unread.get(inode, b"") + file.read()
            lines, newline, self._unread[inode] = data.rpartition(b"\n")
            if newline:
                said = self._before.get(inode, b"") + said_in(lines)
                self._search(f"container log {name}", said)
                self._before[inode] = said[-OVERLAP_BYTES:]


def files_below(folder: Path) -> Iterator[Path]:
    """Logs, also while folders come and go, at which `rglob` would fail."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if ".log" in name)


def said_in(lines: bytes) -> bytes:
    """What a container wrote, without the runtime's marks (`TIME STREAM F|P TEXT`) and with long lines whole again."""
    said = bytearray()
    for line in lines.split(b"\n"):
        parts = line.split(b" ", 3)
        is_marked = len(parts) == 4 and parts[1] in (b"stdout", b"stderr")
        said += parts[3] if is_marked else line
        if not (is_marked and parts[2].startswith(b"P")):
            said += b"\n"
    return bytes(said)
