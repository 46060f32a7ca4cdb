"""`modelway analyze` and `modelway eval-prompts`: what the prompt analysis says, and how often it is right."""
