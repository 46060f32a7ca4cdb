"""Commands as processes: run, get, demo, client create."""
