"""A Graph through jax.lax, and arrays of jax: the one folder that imports jax."""
