"""The command line: standalone runner, demo, traffic, LLM simulator, client keys."""
