"""The options that several stages of `cogumi run` have."""

from __future__ import annotations

from pathlib import Path

import typer

from cogumi.recipe import preset_names

RecipeOption = typer.Option("tiny", "--recipe", "-r", help=f"A preset ({', '.join(preset_names())}) or a YAML file.")
RunOption = typer.Option("", "--run", help="Name of the run; by default the recipe's.")
SetOption = typer.Option([], "--set", help="Change the recipe: section.key=value.")
RootOption = typer.Option(Path("runs"), "--root", help="Folder that holds the runs.")
PeriodOption = typer.Option("", "--period", help="The period that the rows are generated for, such as 2026-W47.")
VersionsOption = typer.Option("datasets", "--versions", help="Folder or URL (s3://...) that holds the versions.")
QuestionsOption = typer.Option(
    [], "--questions", help="Existing questions (.jsonl files or folders) instead of generated ones."
)
RehearseOption = typer.Option(
    False, "--rehearse", help="The embedded provider instead of every teacher: no key, simulated cost."
)
PublishOption = typer.Option("", "--dataset", help="Publish the result as the next version of this dataset.")
DatasetOption = typer.Option("", "--dataset", help="Train on this published dataset, NAME or NAME@VERSION.")
DryRunOption = typer.Option(False, "--dry-run", help="Price and minutes, without a call or a training step.")
ChangeOption = typer.Option(
    False,
    "--change",
    help="Make an existing run anew by this recipe where it differs; what is finished moves to replaced/.",
)
NoPrefectOption = typer.Option(False, "--no-prefect", help="The same stage in this process, without Prefect.")
