"""The command line: one file per group, each command a few lines over the rooms below."""
