"""Keys of clients: what goes into a Secret."""
