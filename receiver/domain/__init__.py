"""Pure knowledge: types and tables. No input or output, no clock, no environment."""
