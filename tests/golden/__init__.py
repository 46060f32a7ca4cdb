"""Tests of the golden rung."""
