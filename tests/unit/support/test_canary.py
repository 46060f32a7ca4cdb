"""The scanner for prompts finds what is planted for it, and a run that wrote a prompt down fails."""

import base64
import gzip
import html
import json
import subprocess
import sys
import textwrap
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.canary import CANARY, PROMPT, PROMPT_CANARY, Written

ROOT = Path(__file__).resolve().parents[3]
WORD = PROMPT_CANARY
PLAIN = WORD.encode()
LONG = base64.b64encode(b"\x01" * 40 + PLAIN + b"\x01" * 40).decode()

PLANTED: dict[str, str | bytes] = {
    "plain": f"prompt={PROMPT}",
    "first 20 letters of a prompt": PROMPT[:20],
    "upper case": WORD.upper(),
    "folded": WORD.casefold(),
    "JSON": json.dumps({"prompt": PROMPT}),
    "JSON in JSON": json.dumps(json.dumps({"prompt": PROMPT})),
    "JSON with every letter escaped": "".join(f"\\u{ord(letter):04X}" for letter in WORD),
    "repr of bytes": repr(PLAIN),
    "bytes with every letter escaped": "".join(f"\\x{ord(letter):02x}" for letter in WORD),
    "URL": urllib.parse.quote(PROMPT),
    "URL with every letter escaped": "".join(f"%{ord(letter):02X}" for letter in WORD),
    "HTML": html.escape(PROMPT),
    "HTML with every letter escaped": "".join(f"&#{ord(letter)};" for letter in WORD),
    "UTF-16": WORD.encode("utf-16"),
    "UTF-16, big end first": WORD.encode("utf-16-be"),
    "UTF-32": WORD.encode("utf-32"),
    "UTF-32, big end first": WORD.encode("utf-32-be"),
    "hexadecimal": PLAIN.hex(),
    "hexadecimal, upper case": PLAIN.hex().upper(),
    "base64": base64.b64encode(PLAIN),
    "base64 after one byte": base64.b64encode(b"x" + PLAIN + b"yz"),
    "base64 after two bytes": base64.b64encode(b"xy" + PLAIN + b"z"),
    "base64 for URLs": base64.urlsafe_b64encode(b"\xff\xfe\xfb" + PLAIN + b"\xff\xfb"),
    "base64 of the folded word": base64.b64encode(WORD.upper().encode()),
    "base64 in lines of 64": "\n".join(textwrap.wrap(LONG, 64)),
    "base64 in lines of 76, CR LF": "\r\n".join(textwrap.wrap(LONG, 76)),
    "base64 in lines, in YAML": "\n".join(f"    {line}" for line in textwrap.wrap(LONG, 64)),
    "base64 in lines, in JSON": json.dumps("\n".join(textwrap.wrap(LONG, 64))),
    "base64 in lines, in JSON in JSON": json.dumps(json.dumps("\n".join(textwrap.wrap(LONG, 64)))),
    "hexadecimal in lines of 8": "\n".join(textwrap.wrap(PLAIN.hex(), 8)),
    "plain, split over two lines": f"{WORD[:7]}\n{WORD[7:]}",
    "quoted-printable, split": f"{WORD[:7]}=\n{WORD[7:]}",
    "letter by letter": " ".join(WORD),
    "list of numbers": str(list(PLAIN)),
    "reversed": WORD[::-1],
    "bad Unicode around it": f"\ud800{WORD}\udfff",
    "bad UTF-8 around it": b"\xff\x00" + PLAIN + b"\xc3",
}
HARMLESS: dict[str, str | bytes] = {
    "nothing": "",
    "a longer word that ends like it": WORD[1:],
    "half of it": WORD[: len(WORD) // 2],
    "its digest": "sha256:5e0f47ce17c5a1e0a1a9f53fd5c7bf2cd4a8e0a1b7b1d1a8ba1f5f3f0e9c5f21",
    "another prompt": "Say in a few words how you are.",
}


@pytest.mark.parametrize("case", PLANTED)
def test_the_scanner_finds_a_planted_prompt(case: str) -> None:
    """In each of the clothes in which a prompt could be written down."""
    data = PLANTED[case]
    around: str | bytes = b"{'a': 1} " + data + b" \n" if isinstance(data, bytes) else f"{{'a': 1}} {data} \n"

    assert CANARY.forms_in(data)
    assert CANARY.forms_in(around)


@pytest.mark.parametrize("case", HARMLESS)
def test_the_scanner_says_nothing_of_other_text(case: str) -> None:
    """What does not give the prompt away is passed over."""
    assert [] == CANARY.forms_in(HARMLESS[case])


@given(before=st.binary(max_size=40), after=st.binary(max_size=40), shown=st.sampled_from(["plain", "base64", "hex"]))
def test_the_scanner_finds_it_whatever_stands_around(before: bytes, after: bytes, shown: str) -> None:
    """Bytes before and behind it move its base64, and hide nothing."""
    whole = before + PLAIN + after
    texts = {"plain": whole, "base64": base64.b64encode(whole), "hex": whole.hex().encode()}

    assert CANARY.forms_in(texts[shown])


def test_what_was_written_is_counted_and_named_by_its_place() -> None:
    """A finding says where and how; a prompt that arrived is counted, so that no empty search passes for a good one."""
    written = Written(CANARY)
    written.search("log", "nothing here")
    written.search("dump", base64.b64encode(PLAIN))
    written.arrived(json.dumps({"messages": [{"role": "user", "content": PROMPT}]}).encode())
    written.arrived(gzip.compress(PLAIN))

    assert (["dump: base64"], 2, 1) == (written.found, written.texts, written.sent)


LEAKS = {
    "log": 'logging.getLogger("modelway_gateway.chat").debug("asked %s", PROMPT)',
    "exception's text in our own line": 'logging.getLogger("modelway_gateway.chat").error("%s", ValueError(PROMPT))',
    "standard output": "print(PROMPT)",
    "standard error": "print(PROMPT.upper(), file=sys.stderr)",
    "process": "os.system(f'echo {PROMPT}')",
    "process that the test listens to": "asyncio.run(listened())",
    "record": 'search.RECORDS = tmp_path; (tmp_path / "run.json").write_text(PROMPT)',
}
TEST = """
import asyncio, logging, os, sys
from tests.support import search
from tests.support.canary import PROMPT

async def listened():
    out = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("echo", PROMPT, stdout=out, stderr=out)
    async with search.overhearing(process, "echo"):
        assert PROMPT.encode() in (await process.communicate())[0]

def test_that_passes(tmp_path):
    {leak}
"""


def run_of(test: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Pytest, by itself, on one file."""
    file = folder / "test_planted.py"
    file.write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.search", "-p", "no:cacheprovider"]
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), str(file)]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_run_that_wrote_a_prompt_down_fails(leak: str, tmp_path: Path) -> None:
    """Though each of its tests passes; the place is named, and the prompt is not."""
    done = run_of(TEST.format(leak=LEAKS[leak]), tmp_path)

    assert 1 == done.returncode, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "searched, found in" in done.stdout
    assert "found in 0" not in done.stdout


def test_a_run_that_wrote_none_down_passes(tmp_path: Path) -> None:
    """A prompt that is only sent is no finding, and what a library is asked to log is not said."""
    sent = 'len(PROMPT); logging.getLogger("aiohttp.server").error("Error handling %r", PROMPT)'
    done = run_of(TEST.format(leak=sent), tmp_path)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "found in 0" in done.stdout
