"""From a Graph to a callable: one module for each backend."""
