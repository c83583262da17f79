"""Read-only facts."""
