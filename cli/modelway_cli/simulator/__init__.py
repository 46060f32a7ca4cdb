"""An LLM backend that can be told how to behave: `modelway simulate-llm`, and `server.SimulatedLLM` in process.

It speaks the OpenAI chat API truly enough for the official SDK, and misbehaves on the wire exactly as asked. It is for
tests, demonstrations and trying out policies; it never calls anything else.
"""
