"""Cancel the batches that a run has open at its providers. What they answered until then is still read on resume."""

from __future__ import annotations

from pathlib import Path

from cogumi.dataset.request import DatasetRequest
from cogumi.recipe import Recipe
from cogumi.store.batch_rows import Batch
from cogumi.store.ledger import Ledger
from cogumi.store.run_folder import ledger_url, name_in_ledger, read_run, run_path
from cogumi.teachers.staff import open_desk


async def cancel_batches(request: DatasetRequest, recipe: Recipe | None = None) -> list[Batch]:
    """Ask the providers to stop; returns the batches that were told. `recipe` is the request's unless given.

    The embedded provider ends with its run. Raises RunError run-not-found; WireError where a provider refuses.
    """
    folder = run_path(Path(request.root), request.run)
    read_run(folder)
    ledger = Ledger.view(ledger_url(folder), name_in_ledger(folder))
    try:
        still_open = [batch for batch in ledger.batches() if batch.state == "open" and batch.provider_id]
    finally:
        ledger.close()
    cancelled = []
    for section in (recipe or request.load()).teachers.values():
        ours = [b for b in still_open if (b.provider, b.model) == (section.label, section.model) and b not in cancelled]
        if not ours or section.base_url == "loopback":
            continue
        desk = open_desk(section)
        try:
            for batch in ours:
                await desk.cancel(batch.provider_id)
                cancelled.append(batch)
        finally:
            await desk.aclose()
    return cancelled
