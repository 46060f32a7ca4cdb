"""Measures the gateway's cost beside nginx, in the same run, on the same machine: `make bench`.

What is measured is CPU per request and per chunk, added latency, and memory. The rule: nothing is compared that was not
measured in turns in one run, because a machine's speed changes from minute to minute; the ratio does not.
"""
