"""Everything outside the process: the API server, the gateways, Prometheus, certificates.

This floor is the only one that opens connections. It decides nothing: what it reads it hands up as plain values, what
it is told it carries out, and a library's exception never leaves it.
"""
