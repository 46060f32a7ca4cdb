"""The demo piece by piece: its files, its figures, its verdict."""
