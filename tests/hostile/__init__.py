"""Tests of the hostile rung."""
