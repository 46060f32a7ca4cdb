"""Writes the expected documents anew: `python -m tests.golden.regenerate`. Read the difference before you commit it."""

from tests.golden.manifests import cases, document, golden, world_of

if __name__ == "__main__":
    for case in cases():
        push = world_of(case).decide().push
        assert push is not None
        golden(case).write_text(document(push))
