"""The prompt analysis: each module by tables, and the committed model by prompts written for these tests."""
