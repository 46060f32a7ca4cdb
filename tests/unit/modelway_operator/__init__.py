"""The operator, part by part, with plain values."""
