"""Tests of the contract: bytes to structs and back."""
