"""The phases as Prefect flows, one file a phase.

Entrypoints are module paths: flows.generate_dataset.generate_dataset. Whoever imports one, a command or a worker's
process, logs errors of the library with their remedy.
"""

from tasks.error_logging import show_errors_with_remedy

show_errors_with_remedy()
