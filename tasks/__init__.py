"""Prefect tasks: thin wrappers around the library (retries, cache key, concurrency, artifact). No logic."""
