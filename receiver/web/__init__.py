"""The front door: hooks for machines, an API for scripts, pages for people."""
