import json

from simulations.benchmarks.ledger import main


def test_every_question_is_answered_on_both_ledgers(tmp_path, capsys):
    main(["--events", "60", "--repeats", "1", "--out", str(tmp_path)])
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {run["ledger"] for run in runs} == {"repeating", "all distinct"}
    assert len(runs) == 2 * 7
    assert all(run["seconds"] > 0 for run in runs)
    assert {run["aim"] for run in runs} == {None, 0.05, 5.0}
    for run in runs:
        assert 60 <= run["events"] < 80
        distinct = run["events"] if run["ledger"] == "all distinct" else 16
        assert run["distinct events"] <= distinct
        assert run["receipts"] == (0 if run["ledger"] == "all distinct" else run["events"])
    assert json.loads((tmp_path / "ledger.json").read_text())["runs"] == runs
    assert "| budget question |" in (tmp_path / "ledger.md").read_text()
