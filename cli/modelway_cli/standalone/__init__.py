"""Modelway on one machine: `modelway run` serves the manifests in a folder, `modelway get` shows how they are doing.

It is the operator and a gateway in one process. Only what speaks to the API server (`cluster`), to the gateways
(`gateway`) and to other operators (`leading`) has a second implementation here; what turns objects into configs and
moves traffic is the operator's own code, and what serves requests is the gateway's.
"""
