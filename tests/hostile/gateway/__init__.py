"""The gateway's admin port under attack."""
