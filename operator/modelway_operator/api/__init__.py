"""The custom resources as types: what users may write, what the operator answers, and the CRDs made from both.

This floor is pure. It reads no clock, opens no socket and knows nothing of other objects: whatever can be said about
one object alone is said here, once, on the type, and from there goes into the CRD (schema and CEL) as well. Checks
that need a second object belong to `core.compile`.
"""
