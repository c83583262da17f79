"""Connecting a forge and leaving it again: what is checked first, what is done then, and what doctor says of it."""
