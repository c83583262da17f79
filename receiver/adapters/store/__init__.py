"""Adapters of one port."""
