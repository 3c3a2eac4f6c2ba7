"""Teacher models behind one Protocol: every call limited, budgeted, retried by one policy, and in the ledger."""
