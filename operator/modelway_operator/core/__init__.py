"""What the operator decides: objects in, a plan out.

This floor is pure. `decide(snapshot)` gives the same plan for the same snapshot: time, samples and acknowledgements
come in as values, pushes, statuses and Events go out as values. No `async def`, no clock, no socket, no log.
"""
