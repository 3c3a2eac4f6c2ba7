"""python -m deployments.register: pools, queues, limits, blocks and automations on the server of this environment."""

from __future__ import annotations

import argparse
import asyncio
import sys

import orjson
from prefect.client.orchestration import get_client

from blocks import BLOCKS
from cogumi.errors import InputError
from deployments.automations import make_automations
from deployments.pools import make_pools
from deployments.site import REFUSED
from tasks.provider_limits import make_limits


async def register(simulate: bool, notify: str) -> None:
    """All of it; again it changes only what differs."""
    for block in BLOCKS:
        await block.aregister_type_and_schema()
    async with get_client() as client:
        await make_pools(client, simulate)
        await make_limits(client)
        await make_automations(client, notify)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--notify", default="")
    asked = parser.parse_args()
    try:
        asyncio.run(register(asked.simulate, asked.notify))
    except InputError as error:  # read by `cogumi up`, which says it to its user
        sys.stdout.write(orjson.dumps([error.code, error.detail]).decode())
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
