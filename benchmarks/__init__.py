"""tracegrad timed side by side with its peers: `python -m benchmarks [name ...] [--rounds N] [--list]`."""
