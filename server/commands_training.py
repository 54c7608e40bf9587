"""`hushrec server train` and `deliver`: what an operator does with a server that runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from common import job_options as of_job
from common.terminal import Format, FormatOption, finish, name_values, print_json
from server import training_options as option
from server.gateway.quiet import quieten

if TYPE_CHECKING:
    from server.gateway.control import Control
    from server.training.folder import Outcome, Training
    from server.training.request import Request

__all__ = ["INSIDE", "InsideOption", "deliver", "train"]

INSIDE: Final = "127.0.0.1:8000"
InsideOption = Annotated[
    str, typer.Option(help="Loopback address of Control and Runtime, IP:PORT.")
]
_OK: Final = "ok"
_RESULT: Final = {"version", "promotion", "delivered"}
"""What is told of an outcome."""
_STOPPED: Final = "The training goes on at the server; --resume with its name follows it."


def train(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    request: option.RequestFile = None,
    name: option.Name = None,
    resume: option.Resume = None,
    solver: of_job.Solver = None,
    settings: of_job.Setting = None,
    rounds: of_job.Rounds = None,
    dim: of_job.Dim = None,
    mode: of_job.ModeName = None,
    epsilon: of_job.Epsilon = None,
    delta: of_job.Delta = None,
    evaluation_share: of_job.EvaluationShare = None,
    threshold: of_job.Threshold = None,
    colluders: of_job.Colluders = None,
    seed: of_job.Seed = None,
    quorum: option.Quorum = None,
    deadline_seconds: option.DeadlineSeconds = None,
    wait_seconds: option.WaitSeconds = None,
    attempts: option.Attempts = None,
    promote: option.Promote = None,
    every: option.Every = None,
    bundle: option.Bundle = None,
    restarts: option.Restarts = 1000,
    inside: InsideOption = INSIDE,
    output: FormatOption = Format.TEXT,
) -> None:
    """Train a model with the clients of a server that runs, and follow it to the end."""
    options = _of_request(locals())

    def work() -> None:
        if resume is not None and (options or request or name or every):
            raise typer.BadParameter(
                "a training that was begun keeps its request", param_hint="--resume"
            )
        trainer = _Trainer(home, _control(home, inside), _bundle(bundle), restarts, output)
        if every is None:
            training = _training(home, resume, name, request, options)
            trainer.drive(training, by_hand=resume is not None)
        else:
            _repeat(trainer, every, name or "every", _request(request, options))

    finish(work, stopped=_STOPPED)


def _of_request(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of a request, whose fields have the options' names."""
    from server.training.request import Request

    found = {k: v for k, v in given.items() if k in Request.model_fields and v is not None}
    if "settings" in found:
        found["settings"] = name_values(found["settings"])
    return found


def deliver(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    bundle: option.Bundle = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="Most runs that are started after the first.")
    ] = 3,
    inside: InsideOption = INSIDE,
    output: FormatOption = Format.TEXT,
) -> None:
    """Send the promoted model to every client that is connected. Status 1 if one has it not."""

    def work() -> int:
        trainer = _Trainer(home, _control(home, inside), _bundle(bundle), restarts, output)
        found = trainer.driven(_delivery(home), attaches=False, deliver="true")
        if output is Format.JSON:
            print_json(found.model_dump(mode="json", include=_RESULT))
        else:
            typer.echo(f"model     {found.version}, promoted as number {found.promotion}")
            for name, code in found.delivered.items():
                typer.echo(f"delivered {name}: {code}")
        return 0 if set(found.delivered.values()) <= {_OK} else 1

    finish(work)


def _delivery(home: Path) -> Training:
    from server.training.finishing import DELIVERY
    from server.training.folder import Training

    path = home.resolve() / DELIVERY
    path.mkdir(mode=0o700, exist_ok=True)
    return Training(path)


def _control(home: Path, inside: str) -> Control:
    quieten()
    from server.gateway.versions import check_flower

    check_flower()
    from common.address import Address
    from server.gateway.control import Control
    from server.gateway.folder import ServerFolder

    return Control(ServerFolder.of_server(home), Address.read(inside))


def _training(
    home: Path, resume: str | None, name: str | None, path: Path | None, options: dict[str, Any]
) -> Training:
    from server.training.folder import Training

    if resume is not None:
        return Training.existing(home, resume)
    asked = _request(path, options)
    return (
        Training.create_dated(home, asked) if name is None else Training.create(home, asked, name)
    )


def _request(path: Path | None, options: dict[str, Any]) -> Request:
    from common.config import read_toml
    from server.training.request import Request

    values = {} if path is None else read_toml(path)
    where = "options" if path is None else f"{path} and options"
    return Request.load({**values, **options}, where=where).checked()


def _bundle(path: Path | None) -> bytes:
    from common.bundle import build_bundle
    from common.files import read_bytes

    return build_bundle() if path is None else read_bytes(path)


@dataclass(frozen=True)
class _Trainer:
    """What drives trainings at one server, and tells of them."""

    home: Path
    control: Control
    bundle: bytes
    restarts: int
    output: Format

    def say(self, line: str) -> None:
        """A line of what happens; the object alone is for stdout where one is asked for."""
        typer.echo(line, err=self.output is Format.JSON)

    def drive(self, training: Training, *, by_hand: bool = False) -> Outcome:
        """Drive a training to its model; `by_hand` where a person resumes it."""
        self.say(f"training  {training.name} in {training.path}")
        found = self.driven(training, by_hand=by_hand)
        _tell(found, training, self.output)
        return found

    def driven(
        self, training: Training, *, by_hand: bool = False, attaches: bool = True, **settings: str
    ) -> Outcome:
        """The outcome of a training, or of what else the settings ask for."""
        from server.training.driver import Driver

        where, bundle = self.home.resolve(), self.bundle
        driver = Driver(
            training,
            where,
            self.control,
            bundle,
            self.say,
            settings,
            restarts=self.restarts,
            by_hand=by_hand,
            attaches=attaches,
        )
        return driver.run()


def _repeat(trainer: _Trainer, every: str, name: str, request: Request) -> None:
    from server.training.schedule import Schedule, read_interval

    interval = read_interval(every)
    Schedule(trainer.home, name, interval, request, trainer.drive, trainer.say).run()


def _tell(found: Outcome, training: Training, output: Format) -> None:
    """The result: a line for each thing that was reached, or an object."""
    if output is Format.JSON:
        values = found.model_dump(mode="json", include=_RESULT)
        print_json({"training": training.name, "folder": str(training.path), **values})
        return
    typer.echo(f"model     {found.version}")
    if found.promotion is not None:
        typer.echo(f"promoted  as number {found.promotion}")
    for name, code in found.delivered.items():
        typer.echo(f"delivered {name}: {code}")
