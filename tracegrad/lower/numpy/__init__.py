"""A Graph as Python source that calls NumPy."""
