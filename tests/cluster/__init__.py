"""Tests of the cluster rung."""
