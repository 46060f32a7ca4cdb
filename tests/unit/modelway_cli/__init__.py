"""Unit tests of the command line: pure parts, plain values."""
