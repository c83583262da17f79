"""The alert's own source: does it say so, and does it still."""
