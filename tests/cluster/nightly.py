"""The long runs (`make nightly`): the same tests with more of everything, and a record of what they found."""

import json
import os
from pathlib import Path
from typing import Any

from tests.cluster.reach import ROOT

NIGHTLY = os.environ.get("MODELWAY_NIGHTLY") == "1"
RECORDS = ROOT / "docs" / "records"


def keep_record(name: str, record: dict[str, Any]) -> None:
    """Write it beside the documentation in a long run; in a short one to where MODELWAY_RECORDS says, if anywhere."""
    folder = RECORDS if NIGHTLY else Path(os.environ.get("MODELWAY_RECORDS") or "")
    if folder != Path():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")
