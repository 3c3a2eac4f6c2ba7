"""What lasts: the ledger, artifacts, JSONL and Parquet."""
