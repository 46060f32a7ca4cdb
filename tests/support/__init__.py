"""Tests of the support rung."""
