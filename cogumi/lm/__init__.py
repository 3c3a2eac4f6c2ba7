"""Language-model basics: tokenizer, chat template and loss mask."""
