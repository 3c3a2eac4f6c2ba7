"""The command line: one file a command group. The only layer that imports flows and benchmarks, and only when asked."""
