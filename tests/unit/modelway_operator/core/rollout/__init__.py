"""Tests of the rollout engine, part by part; whole rollouts are played in tests/playbooks."""
