"""Functions with derivative rules that the user gives."""
