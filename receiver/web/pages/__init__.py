"""Part of the front door."""
