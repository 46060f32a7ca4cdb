"""Tests of the integration rung."""
