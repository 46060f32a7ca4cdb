"""Upstream LLM servers: the only code that talks to them.

It carries bytes and tells failures apart; it knows nothing of models, rules or JSON, and never decides to try again
(but for the keep-alive race, see pool.py).
"""
