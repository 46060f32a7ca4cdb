"""Upstream calls against real, mostly hostile servers."""
