"""What is recorded of a session is what was received, and what is made of it is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from common.errors import ArtifactError, Code, RunError
from common.privacy.shared_noise import natural
from common.protocol import SumCall, SumReply
from common.secure_sum.messages import STAGES, Reveal
from hushrec import command_line
from server.commands import STANDS_OUT
from server.seen import RECORD_MARK, Recorder, Seen, recordings
from server.seen_masks import known_masks
from server.seen_view import SessionView, view_session
from server.sessions import SUMMED
from tests.server.parties import Federation, change, lose
from tests.server.tampering import rounds

LOST = {"shop-2": "keys", "shop-4": "masked", "shop-6": "reveal"}


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Nine clients, of which three are lost, one at each of three stages."""
    made = Federation.of(tmp_path, 9, 6)
    made.grid.tampering = lose(LOST)  # type: ignore[arg-type]
    return made


def recorded(made: Federation, **changes: Any) -> Seen:
    sums = made.sums(recorder=Recorder(made.folder), attempts=1, **changes)
    sums.sum(0, {}, made.release)
    return recordings(made.folder)[-1]


def test_nothing_is_recorded_unless_asked_for(federation: Federation) -> None:
    federation.sums().sum(0, {}, federation.release)
    with pytest.raises(RunError, match=RECORD_MARK) as caught:
        recordings(federation.folder)
    assert caught.value.code is Code.RUN_NOT_FOUND


def test_the_record_is_what_clients_said(federation: Federation) -> None:
    said: dict[tuple[str, str], SumReply] = {}
    away = federation.grid.tampering

    def keep(name: str, call: SumCall, reply: SumReply) -> SumReply | None:
        found = away(name, call, reply)
        if found is not None:
            said[call.stage, name] = found
        return found

    federation.grid.tampering = keep
    seen = recorded(federation)
    transcript = seen.transcript
    by_stage = {
        "keys": transcript.offers, "shares": transcript.deals,
        "survivors": transcript.agreements, "reveal": transcript.reveals,
    }  # fmt: skip
    for stage, bodies in by_stage.items():
        assert list(bodies) == [said[s, n].body for s, n in sorted(said) if s == stage]
    words = dict(seen.words())
    assert sorted(words) == [name for stage, name in sorted(said) if stage == "masked"]
    for name, one in words.items():
        assert np.array_equal(one, said["masked", name].words)
        assert not np.array_equal(one, federation.client(name).words)
    survivors = [name for name in federation.names if name not in {"shop-2", "shop-4"}]
    assert list(transcript.ended.survivors) == survivors
    assert np.array_equal(seen.total, federation.words_of(survivors))
    assert transcript.received["shop-4"] == {
        "keys": transcript.received["shop-1"]["keys"],
        "shares": transcript.received["shop-1"]["shares"],
        "masked": 0,
    }
    assert transcript.received["shop-1"]["masked"] > words["shop-1"].nbytes


@pytest.mark.parametrize("stage", STAGES)
def test_a_session_that_fails_is_recorded_as_far_as_it_came(
    federation: Federation, stage: Any
) -> None:
    federation.grid.tampering = lose(dict.fromkeys(federation.names[:4], stage))
    with pytest.raises(RunError):
        recorded(federation)
    (seen,) = recordings(federation.folder)
    assert seen.transcript.ended.outcome == "sum-threshold"
    assert seen.total is None
    view = view_session(seen, federation.release)
    assert view.total is None
    assert [client.client for client in view.clients] == federation.names
    assert (len(list(seen.words())) > 0) is (stage in STAGES[2:])


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_server_leaves_what_it_had(federation: Federation, stage: Any) -> None:
    seen_stages: list[str] = []

    def at_last(call: SumCall) -> None:
        seen_stages.append(call.stage)
        if seen_stages.count(stage) == 5:
            raise KeyboardInterrupt

    federation.grid.before = at_last
    with pytest.raises(KeyboardInterrupt):
        recorded(federation)
    if stage == "keys":
        with pytest.raises(ArtifactError):
            _ = recordings(federation.folder)[0].transcript
        return
    (seen,) = recordings(federation.folder)
    view = view_session(seen, federation.release)
    assert (view.outcome, view.total, view.stands_out) == ("begun", None, False)


def test_known_masks_are_the_own_ones_and_those_of_who_dropped_out(
    federation: Federation,
) -> None:
    """With those off, what is left of each is masks between survivors, which cancel."""
    seen = recorded(federation)
    known = known_masks(seen.transcript)
    words = dict(seen.words())
    assert set(known) == set(words)
    bare = {name: known[name].off(one) for name, one in words.items()}
    for name, one in bare.items():
        masks = len(known[name].added) + len(known[name].subtracted)
        assert masks == 2  # its own, and that with shop-4
        assert not np.array_equal(one, federation.client(name).words)
    total = sum(bare.values(), start=np.zeros_like(words["shop-1"]))
    assert np.array_equal(total, seen.total)


def test_nothing_is_known_before_secrets_are_revealed(federation: Federation) -> None:
    federation.grid.tampering = lose(dict.fromkeys(federation.names[:4], "survivors"))
    with pytest.raises(RunError):
        recorded(federation)
    (seen,) = recordings(federation.folder)
    known = known_masks(seen.transcript)
    assert all(not one.added and not one.subtracted for one in known.values())


def no_number(shares: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(shares, "f" * 66)


def one_more(shares: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{int(share, 16) ^ 1:066x}" for name, share in shares.items()}


@pytest.mark.parametrize("wrong", ["shop-1", "shop-9"])
@pytest.mark.parametrize("kind", ["seeds", "keys"])
@pytest.mark.parametrize("make", [no_number, one_more])
def test_wrong_shares_that_did_no_harm_are_no_alarm(
    federation: Federation, wrong: str, kind: str, make: Callable[[Mapping[str, str]], Any]
) -> None:
    """Of the first six who reveal, or of two to spare: the recording adds up all the same."""
    away = lose({"shop-4": "masked"})

    def lie(reply: SumReply) -> SumReply:
        assert isinstance(reply.body, Reveal)
        shares = {kind: make(getattr(reply.body, kind))}
        return replace(reply, body=reply.body.model_copy(update=shares))

    at_reveal = change("reveal", [wrong], lie)
    federation.grid.tampering = lambda name, call, reply: (
        at_reveal(name, call, reply) if name == wrong else away(name, call, reply)
    )
    seen = recorded(federation)
    assert seen.transcript.ended.dropped[wrong].code == "sum-share"
    view = view_session(seen, federation.release)
    assert view.total is not None
    assert view.total.adds_up
    assert not view.stands_out


def test_a_session_that_wrong_shares_ended_is_shown(federation: Federation) -> None:
    away = federation.grid.tampering

    def lie(name: str, call: SumCall, reply: SumReply) -> SumReply | None:
        if call.stage == "reveal" and name in {"shop-1", "shop-3"}:
            assert isinstance(reply.body, Reveal)
            body = reply.body.model_copy(update={"seeds": no_number(reply.body.seeds)})
            return replace(reply, body=body)
        return away(name, call, reply)

    federation.grid.tampering = lie
    with pytest.raises(RunError, match="sum-share"):
        recorded(federation)
    (seen,) = recordings(federation.folder)
    view = view_session(seen, federation.release)
    assert (view.outcome, view.total, view.stands_out) == ("sum-share", None, False)


@pytest.mark.parametrize("part", ["offers", "deals", "reveals"])
def test_a_recording_that_was_changed_is_an_error_with_a_code(
    federation: Federation, part: str
) -> None:
    seen = recorded(federation)
    path = seen.folder / "transcript.json"
    values = json.loads(path.read_text())
    values[part][0]["name"] = "shop-0"
    path.write_text(json.dumps(values))
    with pytest.raises(ArtifactError) as caught:
        view_session(seen, federation.release)
    assert caught.value.code is Code.ARTIFACT_INVALID


def test_masked_words_look_like_nothing_and_the_total_does_not(federation: Federation) -> None:
    view = view_session(recorded(federation), federation.release)
    assert view.outcome == SUMMED
    assert not view.stands_out
    assert view.tests == 3 * 7
    assert view.total is not None
    assert view.total.words.p < 1e-12
    assert view.total.adds_up
    assert view.pair is not None
    assert view.pair.pairs == 21


def test_a_total_is_shown_in_natural_units(federation: Federation) -> None:
    view = view_session(recorded(federation), federation.release)
    assert view.total is not None
    values = natural(federation.words_of(view.survivors), federation.release)
    largest = view.total.largest
    assert [abs(one.value) for one in largest] == sorted(np.abs(values).ravel())[::-1][:10]
    for one in largest:
        assert one.value == values[one.row, one.column]
        assert one.sigmas == pytest.approx(one.value / view.total.noise_std)
    assert view.total.root_mean_square == pytest.approx(np.sqrt(np.mean(values**2)))


def test_what_drop_outs_revealed_is_one_secret_of_each_or_none(federation: Federation) -> None:
    view = view_session(recorded(federation), federation.release)
    shares = {one.client: (one.seed_shares, one.key_shares) for one in view.clients}
    revealed = len(federation.names) - len(LOST)
    assert shares == {
        **dict.fromkeys(federation.names, (revealed, 0)),
        "shop-2": (0, 0),
        "shop-4": (0, revealed),
    }


def put(seen: Seen, name: str, words: Any) -> None:
    save_file({"words": np.ascontiguousarray(words)}, seen.folder / f"words-{name}.safetensors")


def unmasked(made: Federation, seen: Seen) -> None:
    put(seen, "shop-5", made.client("shop-5").words)


def masked_alike(made: Federation, seen: Seen) -> None:
    words = dict(seen.words())
    put(seen, "shop-5", words["shop-1"] + made.client("shop-5").words)


def own_mask_alone(made: Federation, seen: Seen) -> None:
    """The server takes the own mask off: with nothing else on, the words are bare."""
    known = known_masks(seen.transcript)["shop-5"]
    zero = np.zeros_like(made.client("shop-5").words)
    put(seen, "shop-5", made.client("shop-5").words - known.off(zero))


def others_masks_missing(made: Federation, seen: Seen) -> None:
    """One client's words open the total of the others: `others` is what all of them summed."""
    words = dict(seen.words())
    rest = sum((one for name, one in words.items() if name != "shop-1"), start=np.uint32(0))
    wanted = made.words_of(view_session(seen, made.release).survivors)
    put(seen, "shop-1", words["shop-1"])
    put(seen, "shop-5", words["shop-5"] - rest + wanted)


@pytest.mark.parametrize(
    "spoil",
    [unmasked, masked_alike, own_mask_alone, others_masks_missing],
    ids=lambda f: f.__name__,
)
def test_words_that_are_not_masked_stand_out(
    federation: Federation, spoil: Callable[[Federation, Seen], None]
) -> None:
    seen = recorded(federation)
    spoil(federation, seen)
    view = view_session(seen, federation.release)
    assert view.stands_out
    assert view.by_chance is not None
    assert view.pair is not None
    assert min(view.by_chance, view.pair.p) < 1e-6


def test_words_that_make_another_total_stand_out(federation: Federation) -> None:
    seen = recorded(federation)
    words = dict(seen.words())["shop-5"].copy()
    words[0, 0] += 1
    put(seen, "shop-5", words)
    view = view_session(seen, federation.release)
    assert view.stands_out
    assert view.total is not None
    assert not view.total.adds_up


@pytest.fixture
def run(prepare_run: Callable[..., Any], recording_grid: Callable[..., Any]) -> Any:
    made = prepare_run(mode="distributed", record_sums=True)
    rounds(made, recording_grid(made.path), record_sums=True).run()
    return made


def command(*words: Any) -> Any:
    return CliRunner().invoke(command_line(), ["seen", *map(str, words)])


def test_the_command_shows_the_last_session_or_the_one_that_was_asked_for(run: Any) -> None:
    result = command(run.path)
    assert result.exit_code == 0, result.output
    assert "Recorded: 3 sessions of steps 0 to 2." in result.stdout
    assert "step 2 (subspace.round2), session 0: summed" in result.stdout
    for words in ("How its words look", "the total", "add up to the total", "cannot show"):
        assert words in result.stdout
    first = command(run.path, "--step", 0)
    assert "step 0 (subspace.popularity), session 0" in first.stdout


def test_the_command_as_json_holds_everything(run: Any) -> None:
    result = command(run.path, "--format", "json")
    values = json.loads(result.stdout)
    assert values.pop("recorded") == [[0, 0], [1, 0], [2, 0]]
    assert values.pop("stands_out") is False
    view = SessionView.load(values)
    assert [client.client for client in view.clients] == ["shop-1", "shop-2", "shop-3"]


def test_words_that_stand_out_have_a_status_of_their_own(run: Any) -> None:
    seen = recordings(run.path / "server")[-1]
    put(seen, "shop-2", np.zeros_like(dict(seen.words())["shop-2"]))
    result = command(run.path)
    assert result.exit_code == STANDS_OUT
    assert "SOMETHING STANDS OUT" in result.stdout
    assert "DO NOT ADD UP" in result.stdout


@pytest.mark.parametrize("option", ["--step", "--session"])
def test_a_session_that_was_not_recorded_is_an_error_that_says_which_were(
    run: Any, option: str
) -> None:
    result = command(run.path, option, 9)
    assert result.exit_code == 2
    assert "step 1 session 0" in result.stderr


def test_a_run_that_was_not_recorded_says_what_to_do(prepare_run: Callable[..., Any]) -> None:
    result = command(prepare_run(mode="distributed").path)
    assert result.exit_code == 2
    assert RECORD_MARK in result.stderr


def test_a_damaged_record_is_an_error(run: Any) -> None:
    seen = recordings(run.path / "server")[-1]
    (seen.folder / "words-shop-1.safetensors").write_bytes(b"\x00garbage")
    assert command(run.path).exit_code == 2
    (seen.folder / "transcript.json").write_text("{")
    result = command(run.path, "--step", 2)
    assert result.exit_code == 2
    assert "Remove this folder" in result.stderr
