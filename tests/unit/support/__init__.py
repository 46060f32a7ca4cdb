"""What the tests' own instruments can see."""
