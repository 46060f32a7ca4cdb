"""Reading an answer's body without trusting its length."""

import aiohttp


async def read_bounded(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes | None:
    """The whole body; None when it is longer than the limit."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > limit_bytes:
            return None
    return bytes(body)
