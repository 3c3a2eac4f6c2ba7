"""What the Prefect server stores; each block returns a library object."""
