"""The measuring harness itself: that what it counts is true. Nothing here looks at a time."""
