"""Special functions that scipy.special has, by family. Their derivatives are formulas in each other, so that all orders are there."""
