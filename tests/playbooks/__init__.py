"""Tests of the playbooks rung."""
