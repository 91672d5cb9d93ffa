"""Losses by family, with optax's names, arguments and values: one number for each example, reduced by who calls them."""
