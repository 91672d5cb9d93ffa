"""What everything stands on: types, the record of an op, tracing, Graphs."""
