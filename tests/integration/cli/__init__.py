"""The command line's parts on loopback: real servers, real processes, the official SDK."""
