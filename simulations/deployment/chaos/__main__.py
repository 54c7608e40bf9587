"""`python -m simulations.deployment.chaos --runs 50 --seed 1 --out DIR`."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # as its server apps have it: sums come out bit by bit
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from pathlib import Path
from typing import Annotated

import typer

from common.terminal import finish

_COMMAND = "python -m simulations.deployment.chaos --out DIR"


def main(
    out: Annotated[Path, typer.Option(help="Folder; one that was begun is continued.")],
    page: Annotated[
        Path | None, typer.Option(help="Folder for chaos.md and chaos.json; absent: --out.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Trainings.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of what happens, and when.")] = 1,
    shops: Annotated[int, typer.Option(min=1, help="Shops; secure sums take four.")] = 4,
    distributed_every: Annotated[
        int, typer.Option(min=0, help="Every so many runs sum securely; 0: none does.")
    ] = 5,
    span_seconds: Annotated[float, typer.Option(help="Faults begin within this time.")] = 20.0,
    deadline_seconds: Annotated[float, typer.Option(help="Of each round or stage.")] = 30.0,
    limit_seconds: Annotated[float, typer.Option(help="After which a run is silent.")] = 300.0,
    minutes: Annotated[
        float | None, typer.Option(help="No run is begun after so long; absent: no limit.")
    ] = None,
) -> None:
    """Disturb trainings at random moments and look what became of everybody's disks."""

    def work() -> int:
        from simulations.deployment.chaos.campaign import Campaign, carry_out, kept_results
        from simulations.deployment.chaos.summary import summary, write_results

        campaign = Campaign.load(
            {
                "runs": runs,
                "seed": seed,
                "shops": shops,
                "distributed_every": distributed_every if shops >= 4 else 0,
                "span_seconds": span_seconds,
                "deadline_seconds": deadline_seconds,
                "wait_seconds": deadline_seconds,
                "limit_seconds": limit_seconds,
            }
        )
        out.mkdir(parents=True, exist_ok=True)
        stop = None if minutes is None else minutes * 60
        for result in carry_out(
            campaign, out, lambda line: typer.echo(line, err=True), stop_seconds=stop
        ):
            values = result.values
            typer.echo(f"  {values['ended'] or 'SILENCE'} after {values['seconds']} s", err=True)
            for violation in result.violations:
                typer.echo(f"  VIOLATION {violation}", err=True)
        done = kept_results(out)
        if done:
            write_results(page or out, f"{_COMMAND} --runs {runs} --seed {seed}", done)
            typer.echo(summary(done))
        return 1 if any(result.violations for result in done) else 0

    finish(work)


if __name__ == "__main__":
    typer.run(main)
