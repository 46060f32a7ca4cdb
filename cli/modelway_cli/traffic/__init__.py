"""Generated traffic against an OpenAI endpoint: `modelway traffic`, and `run.run_traffic` in process.

It measures what clients see. It is a load tool, so it is bounded always and refuses public addresses unless told.
"""
