"""What operator and gateway must agree on: wire structs, their canonical bytes, and shared names.

This floor imports nobody. It holds no behaviour beyond encoding and decoding, knows nothing of Kubernetes, and is
what both sides are tested against.
"""
