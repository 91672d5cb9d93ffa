"""Programs for signatures, on NumPy and on XLA."""
