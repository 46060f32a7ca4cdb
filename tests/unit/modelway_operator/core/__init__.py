"""The operator's decisions, as tables of plain values."""
