"""Two questions asked from outside of a component: does it answer, and is the machine free for ours."""

from __future__ import annotations

import urllib.error
import urllib.request

from .network import PROXY_TABLES
from .shell import attempt

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with OPENER.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def is_free() -> bool:
    """Whether no kube-proxy has its tables here."""
    return not any(attempt("nft", "list", "table", family, table) for family, table in PROXY_TABLES)
