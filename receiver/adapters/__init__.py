"""Adapters, one folder per port; the folders are independent of each other."""
