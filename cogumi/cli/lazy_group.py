"""LazyGroup: commands whose modules are imported when they are used, so that --version, --help and a mistyped name do
not wait for libraries that they do not need. After "Lazily loading subcommands" of click's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class Source:
    """A command's place, as MODULE:NAME of a function or a Typer application, and the first paragraph of its help."""

    place: str
    summary: str

    def load(self, name: str) -> Any:
        """Import the command and build it."""
        module, attribute = self.place.split(":")
        target = getattr(import_module(module), attribute)
        if isinstance(target, Typer):
            command: Any = get_group(target)
        else:
            alone = Typer(add_completion=False)
            alone.command(name)(target)
            command = get_command(alone)
        command.name = name
        return command


class LazyGroup(TyperGroup):
    """A group that lists its commands by SOURCES alone. Subclass it with yours."""

    SOURCES: ClassVar[dict[str, Source]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, source in self.SOURCES.items():
            self.add_command(TyperCommand(name, help=source.summary))

    def loaded(self) -> dict[str, Any]:
        """Every command itself, in the order listed."""
        return {name: source.load(name) for name, source in self.SOURCES.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is called, imported; what is listed in its place has no options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.SOURCES[name].load(name) if name in self.SOURCES else command, rest
