"""A loopback provider: real HTTP, two wire formats, limits, seeded faults and a bill of its own."""
