"""Training: base models, and (from here on) adapters. The only place besides decoding that needs the extra `train`."""
