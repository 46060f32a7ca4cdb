"""Decisions, and nothing but decisions: compiled config in, choices out.

No `async def`, no clock, no random number, no log and no socket: times and draws come in as arguments, decisions go
out as values.
"""
