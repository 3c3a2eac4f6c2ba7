"""Extras: which extra of the installation a module comes with, and the error where it is not there.

need("s3://bucket/datasets", "s3fs", "botocore")       # InputError extra-missing: pip install 'cogumi[s3]'
"""

from __future__ import annotations

from importlib.util import find_spec

from cogumi.errors import InputError

EXTRA_OF = {
    "anthropic": "batch",
    "openai": "batch",
    "httpx2": "batch",
    "botocore": "s3",
    "s3fs": "s3",
    "psycopg": "postgres",
    "pandas": "pandas",
    "reasoning_gym": "gym",
    "math_verify": "evaluate",
    "datasets": "train",
    "numpy": "train",
    "peft": "train",
    "safetensors": "train",
    "torch": "train",
    "transformers": "train",
    "mlflow": "track",
    "tensorboard": "track",
    "trackio": "track",
    "wandb": "track",
    "prefect_redis": "redis",
}
"""The extra by the module that is imported; whatever else is imported comes with the core."""


def missing(*modules: str) -> str:
    """What of these modules is not installed and how to install it; "" where all of them are."""
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return ""
    extras = ",".join(dict.fromkeys(EXTRA_OF[name] for name in absent))
    return f"{', '.join(absent)} not installed: pip install 'cogumi[{extras}]'"


def need(what: str, *modules: str) -> None:
    """Raise InputError extra-missing where a module that `what` needs is not installed."""
    told = missing(*modules)
    if told:
        raise InputError("extra-missing", f"{what}: {told}")
