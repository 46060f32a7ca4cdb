"""`modelway demo`: a canary that is promoted and one that is rolled back, for real, in about a minute.

Nothing in it is acted: the backends are servers that behave as told, the rollouts are decided by `modelway run` on a
copy of examples/canary, and what is shown is what clients saw and what the policy's status says.
"""
