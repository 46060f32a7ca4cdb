"""A whole Kubernetes node on one Linux machine, without Docker: built, brought up, and taken down without a trace.

Only the standard library is used: the command runs before any virtual environment exists. Everything that lasts lies in
the cache folder, everything of a running node in the state folder, and nothing is ended, unmounted or deleted that the
state folder or a name of ours does not prove to be ours.
"""
