"""Tests: a folder per rung, `support/` for fakes and builders."""
