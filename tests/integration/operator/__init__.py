"""The operator's shell against real servers: an API server, gateways, Prometheus."""
