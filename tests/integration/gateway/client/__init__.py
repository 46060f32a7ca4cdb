"""The client side against real sockets."""
