"""Prompts that a policy sends to six models by what they mean, written before the model said anything about them.

The rule to know: nobody edits `prompts.jsonl` because the model is wrong about a line of it; it is what the model is
measured by.
"""
