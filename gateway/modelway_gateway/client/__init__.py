"""The client's side of a connection: requests in as `Call`s with their whole body, answers out as ready bytes.

Only `connection.py` may touch what is inside aiohttp; a contract test fails when aiohttp changes it.
"""
