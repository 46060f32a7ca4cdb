"""The gateway: routes OpenAI-shaped requests to model backends, by a config that is pushed to it."""
