"""The draft model: a small one that proposes tokens for a large one to take or refuse."""
