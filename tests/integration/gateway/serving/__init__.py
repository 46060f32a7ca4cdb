"""Tests of the whole gateway: clients on one side, upstreams on the other, a config pushed to it."""
