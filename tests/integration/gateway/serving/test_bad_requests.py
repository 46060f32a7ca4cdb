"""Bad requests over a raw socket: each its own 4xx, no upstream call, nothing of the request in the answer or a log."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from tests.integration.gateway.client.raw import Answer, RawClient
from tests.integration.gateway.serving.scenes import answer, completion, one_upstream
from tests.support.canary import PROMPT
from tests.support.gateway import KEY, Harness
from tests.support.upstreams import answering

CANARY = "canary-7c1e"
AUTHORIZED = f"Authorization: Bearer {KEY}\r\n"
JSON_TYPE = "Content-Type: application/json\r\n"
GOOD = b'{"model":"llama","messages":[{"role":"user","content":"%b"}]}' % PROMPT.encode()


async def ask_raw(harness: Harness, data: bytes) -> Answer:
    host, _, port = harness.gateway.client_url.removeprefix("http://").partition(":")
    client = RawClient(*await asyncio.open_connection(host, int(port), limit=1024))
    await client.send(data)
    got = await client.answer()
    client.close()
    return got


def post(body: bytes, *, headers: str = AUTHORIZED + JSON_TYPE, path: str = "/v1/chat/completions") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def fields(**changes: object) -> bytes:
    body: dict[str, object] = {"model": "llama", "messages": [{"role": "user", "content": CANARY}], **changes}
    return json.dumps({name: value for name, value in body.items() if value is not ...}).encode()


KEY_CASES = {
    "none": ("", 401, "invalid_api_key"),
    "twice": (AUTHORIZED * 2, 400, "duplicate_authorization"),
    "twice, one wrong": (AUTHORIZED + f"Authorization: Bearer {CANARY}\r\n", 400, "duplicate_authorization"),
    "empty bearer": ("Authorization: Bearer \r\n", 401, "invalid_api_key"),
    "bearer alone": ("Authorization: Bearer\r\n", 401, "invalid_api_key"),
    "wrong": (f"Authorization: Bearer {CANARY}\r\n", 401, "invalid_api_key"),
    "basic": (f"Authorization: Basic {CANARY}\r\n", 401, "invalid_api_key"),
    "8 kB": (f"Authorization: Bearer {CANARY}{'k' * 8000}\r\n", 401, "invalid_api_key"),
    "not ASCII": (f"Authorization: Bearer {CANARY}-clé\r\n", 401, "invalid_api_key"),
    "not UTF-8": (f"Authorization: Bearer {CANARY}\udcff\r\n", 401, "invalid_api_key"),
    "another header": (f"X-Api-Key: {KEY}\r\n", 401, "invalid_api_key"),
}
BODY_CASES = {
    "b58 none": (b"", 400, "empty_body", None),
    "b58 null": (b"null", 400, "invalid_json", None),
    "b58 array": (b"[]", 400, "invalid_json", None),
    "b58 string": (b'"x"', 400, "invalid_json", None),
    "b58 NaN": (b"NaN", 400, "invalid_json", None),
    "b58 1e400": (b"1e400", 400, "invalid_json", None),
    "b58 cut short": (GOOD[:-1], 400, "invalid_json", None),
    "b58 two values": (GOOD + GOOD, 400, "invalid_json", None),
    "b59 100k deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body_too_deep", None),
    "b59 100k deep, unclosed": (b'{"a":' * 100_000, 400, "body_too_deep", None),
    "b59 65 deep": (b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", 400, "body_too_deep", None),
    "b59 byte order mark": (b"\xef\xbb\xbf" + GOOD, 400, "invalid_json", None),
    "b59 UTF-16": (GOOD.decode().encode("utf-16"), 400, "invalid_json", None),
    "b59 lone surrogate": (b'{"model":"\\ud800","messages":[1]}', 400, "invalid_json", None),
    "b59 bad UTF-8": (b'{"model":"llama","messages":[{"content":"\xff"}]}', 400, "invalid_json", None),
    "b60 missing": (fields(model=...), 400, "missing_required_parameter", "model"),
    "b60 number": (fields(model=7), 400, "invalid_type", "model"),
    "b60 null": (fields(model=None), 400, "invalid_type", "model"),
    "b60 list": (fields(model=[CANARY]), 400, "invalid_type", "model"),
    "b60 empty": (fields(model=""), 400, "invalid_value", "model"),
    "b60 traversal": (fields(model=f"../{CANARY}"), 404, "model_not_found", "model"),
    "b60 unknown": (fields(model=CANARY), 404, "model_not_found", "model"),
    "b60 1 MiB": (fields(model=CANARY * 100_000), 400, "invalid_value", "model"),
    "b61 api_base": (fields(api_base="http://evil"), 400, "upstream_override_not_allowed", "api_base"),
    "b61 base_url": (fields(base_url="http://evil"), 400, "upstream_override_not_allowed", "base_url"),
    "b61 api_key": (fields(api_key=CANARY), 400, "upstream_override_not_allowed", "api_key"),
    "b61 extra_headers": (fields(extra_headers={}), 400, "upstream_override_not_allowed", "extra_headers"),
    "b62 string": (fields(stream="true"), 400, "invalid_type", "stream"),
    "b62 number": (fields(stream=1), 400, "invalid_type", "stream"),
    "b62 list": (fields(stream=[]), 400, "invalid_type", "stream"),
    "messages missing": (fields(messages=...), 400, "missing_required_parameter", "messages"),
    "messages null": (fields(messages=None), 400, "invalid_type", "messages"),
    "messages text": (fields(messages=CANARY), 400, "invalid_type", "messages"),
    "messages empty": (b'{"model":"llama","messages":[ ]}', 400, "invalid_value", "messages"),
}


def check_refusal(got: Answer, status: int, code: str, param: str | None) -> None:
    error = json.loads(got.body)["error"]
    assert (got.status, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == ("authentication_error" if status == 401 else "invalid_request_error")
    assert error["decision"] == got.headers["x-modelway-decision"]
    assert got.headers["x-should-retry"] == "false"
    assert got.headers["x-modelway-attempts"] == "0"
    assert CANARY.encode() not in got.body
    assert CANARY not in str(got.headers)


@pytest.mark.parametrize("name", KEY_CASES)
async def test_b57_a_bad_authorization_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Typed, without an echo, and without an upstream call."""
    headers, status, code = KEY_CASES[name]
    caplog.set_level(logging.DEBUG)
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        check_refusal(await ask_raw(harness, post(fields(), headers=headers + JSON_TYPE)), status, code, None)
        assert (await harness.metrics())[f'modelway_refusals_total{{code="{code}"}}'] == 1

    assert upstream.requests == []
    assert CANARY not in caplog.text


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_b58_another_content_type_is_refused(kind: str) -> None:
    """What a browser can send from a foreign page without asking is not read as JSON."""
    line = f"Content-Type: {kind}\r\n" if kind else ""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        got = await ask_raw(harness, post(GOOD, headers=AUTHORIZED + line))

    check_refusal(got, 415, "unsupported_content_type", None)
    assert upstream.requests == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
async def test_json_by_any_spelling_is_read(kind: str) -> None:
    """The good neighbour of the cases above."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, _):
        got = await ask_raw(harness, post(GOOD, headers=AUTHORIZED + f"Content-Type: {kind}\r\n"))

    assert got.status == 200


async def check_body(name: str, caplog: pytest.LogCaptureFixture) -> None:
    body, status, code, param = BODY_CASES[name]
    caplog.set_level(logging.DEBUG)
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        check_refusal(await ask_raw(harness, post(body)), status, code, param)

    assert upstream.requests == []
    assert CANARY not in caplog.text


def cases(prefix: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name in BODY_CASES if name.startswith(prefix)])


@cases("b58")
async def test_b58_a_body_that_is_no_json_object_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else than one whole object."""
    await check_body(name, caplog)


@cases("b59")
async def test_b59_json_that_is_meant_to_confuse_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Depth, encodings and halves of characters."""
    await check_body(name, caplog)


@cases("b60")
async def test_b60_a_model_that_is_no_name_of_ours_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each wrong shape with its own code; an unknown name is 404."""
    await check_body(name, caplog)


@cases("b61")
async def test_b61_a_field_that_would_override_the_upstream_is_refused(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Dropping it silently would leave the client in the belief that it worked."""
    await check_body(name, caplog)


@cases("b62")
async def test_b62_a_stream_that_is_no_boolean_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor a number counts as true."""
    await check_body(name, caplog)


@cases("messages")
async def test_messages_of_a_wrong_shape_are_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What no upstream could answer is not sent to one."""
    await check_body(name, caplog)


async def test_b59_of_two_models_the_one_that_was_checked_is_served() -> None:
    """A first `model` that nobody may name smuggles nothing to the upstream."""
    body = b'{"model":"secret-model","messages":[1],"model":"llama"}'
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        got = await ask_raw(harness, post(body))

    assert got.status == 200
    assert upstream.requests[0][1] == b'{"model":"simulated","messages":[1]}'


async def test_b61_user_is_a_field_like_any_other() -> None:
    """OpenAI's own `user` overrides nothing and is passed on."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        got = await ask_raw(harness, post(fields(user="u-1")))

    assert got.status == 200
    assert json.loads(upstream.requests[0][1])["user"] == "u-1"


@pytest.mark.parametrize("value", [None, False])
async def test_b62_stream_null_or_false_is_no_stream(value: bool | None) -> None:
    """OpenAI's own schema says that `stream` may be null."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, _):
        got = await ask_raw(harness, post(fields(stream=value)))

    assert (got.status, got.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1//chat/completions", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("POST", "/v1/%63hat/completions", 404, "unknown_url"),
        ("POST", "/V1/chat/completions", 404, "unknown_url"),
        ("POST", "/v1/../admin", 404, "unknown_url"),
        ("GET", "/config", 404, "unknown_url"),
        ("GET", "/metrics", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/llama", 405, "method_not_allowed"),
    ],
)
async def test_b73_no_path_is_guessed(method: str, path: str, status: int, code: str) -> None:
    """Neither spelled alike nor beside: the client's port has three paths."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        got = await ask_raw(harness, post(GOOD, path=path).replace(b"POST", method.encode(), 1))

    check_refusal(got, status, code, None)
    assert upstream.requests == []


async def test_b55_headers_of_the_client_are_not_passed_on() -> None:
    """But for a well-formed trace and a short request id."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    spoofed = (
        "X-Modelway-Policy: other\r\nX-Forwarded-For: 10.0.0.1\r\nCookie: a=b\r\nX-Tenant: t\r\n"
        "OpenAI-Organization: org\r\nAccept-Encoding: gzip\r\nX-Request-Id: mine\r\n"
    )
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        for line in (f"traceparent: {trace}\r\n", f"traceparent: {trace}-x\r\nX-Request-Id: mine\r\n"):
            await ask_raw(harness, post(GOOD, headers=AUTHORIZED + JSON_TYPE + spoofed + line))
        await ask_raw(harness, post(GOOD, headers=f"{AUTHORIZED}{JSON_TYPE}X-Request-Id: {'i' * 8000}\r\n"))

    def names_of(head: bytes) -> list[str]:
        return sorted(line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:] if line)

    usual = ["accept", "accept-encoding", "content-length", "content-type", "host", "user-agent", "x-request-id"]
    heads = [head for head, _ in upstream.requests]
    assert [names_of(head) for head in heads] == [sorted([*usual, "traceparent"]), usual, usual]
    assert b"X-Request-Id: mine\r\n" in heads[0]
    assert b"iiii" not in heads[2]
    assert KEY.encode() not in b"".join(heads)
