"""Tests of the unit rung."""
