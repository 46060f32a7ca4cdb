"""Keys of clients: `modelway client create` makes one, as a Secret for Git or in the cluster at once.

A key is shown once, by the command that made it; afterwards only its Secret has it.
"""
