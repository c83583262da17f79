"""The stages, one verb per file: each takes one kind of case and gives the next."""
