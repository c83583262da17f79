"""The demo as its pages see it."""
