"""The phases as Prefect flows, one file a phase.

Entrypoints are module paths: flows.generate_dataset.generate_dataset.
"""
