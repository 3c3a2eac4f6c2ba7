"""One file a benchmark: prints a table, and as its last line one JSON document."""
