"""`hushrec server models`, `promote` and `rollback`: versions of the model, for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from common.terminal import Format, FormatOption, finish, print_json
from server.enroll.home import check_home
from server.models import Models, Promotion, Version

__all__ = ["models", "promote", "rollback"]

Home: TypeAlias = Annotated[Path, typer.Argument(help="The server's home.")]
_FACTS = ("mode", "unit", "neighbouring", "epsilon", "delta", "accountant", "guarantee")


def models(home: Home, output: FormatOption = Format.TEXT) -> None:
    """List the versions of the model, what each promises, and which one is promoted."""

    def work() -> None:
        check_home(home)
        known = Models(home)
        versions, promotions = known.versions(), known.promotions
        current = promotions[-1] if promotions else None
        if output is Format.JSON:
            print_json(
                {
                    "promoted": None if current is None else _promotion(current),
                    "versions": [_facts(version) for version in versions],
                    "promotions": [_promotion(one) for one in promotions],
                }
            )
        else:
            _print(versions, current)

    finish(work)


def promote(
    home: Home,
    version: Annotated[str, typer.Argument(help="Name of the version, 0003-1a2b3c4d.")],
    not_private: Annotated[
        bool, typer.Option("--not-private", help="Also if it was made without a guarantee.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a version the one that clients are sent; running it again gives it a new number."""

    def work() -> None:
        check_home(home)
        _tell(Models(home).promote(version, not_private=not_private), output)

    finish(work)


def rollback(home: Home, output: FormatOption = Format.TEXT) -> None:
    """Promote once more what was promoted before the current version."""

    def work() -> None:
        check_home(home)
        _tell(Models(home).rollback(), output)

    finish(work)


def _tell(promotion: Promotion, output: Format) -> None:
    if output is Format.JSON:
        print_json(_promotion(promotion))
        return
    typer.echo(f"promotion {promotion.serial}: {promotion.version}")
    typer.echo("`hushrec server deliver` sends it to the clients that are connected.")


def _promotion(promotion: Promotion) -> dict[str, Any]:
    return promotion.model_dump(mode="json")


def _facts(version: Version) -> dict[str, Any]:
    """What is said about a version; ε never without its unit, δ, accountant and mode."""
    manifest = version.manifest
    return {
        "version": version.version,
        "run": version.run,
        "at": version.at,
        "job_id": manifest.job_id,
        "solver": manifest.name,
        "model": manifest.model,
        "catalogue_version": manifest.catalogue_version,
        "private": manifest.private,
        "privacy": {name: manifest.privacy.get(name) for name in _FACTS},
        "sha256": manifest.sha256,
        "added": None if manifest.added is None else manifest.added.model_dump(mode="json"),
    }


def _print(versions: Sequence[Version], current: Promotion | None) -> None:
    if not versions:
        typer.echo("No version yet: a training that has come to its end registers one.")
        return
    for version in versions:
        promoted = current is not None and current.version == version.version
        mark = f"  promoted ({current.serial})" if promoted and current is not None else ""
        private = "" if version.manifest.private else "  NOT PRIVATE"
        kind = "" if version.manifest.model == "mf" else f"  {version.manifest.model}"
        typer.echo(f"{version.version}  {version.at}  run {version.run}{kind}{private}{mark}")
        typer.echo(f"    {version.manifest.privacy.get('guarantee', 'no guarantee stated')}")
        added = version.manifest.added
        if added is not None:
            typer.echo(f"    {added.version} with {added.items} new items, of {added.features}")
    if current is None:
        typer.echo("None is promoted.")
