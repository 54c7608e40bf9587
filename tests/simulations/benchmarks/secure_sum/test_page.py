import json

from simulations.benchmarks.secure_sum.__main__ import main


def test_the_page_is_written_from_small_sums(tmp_path):
    sizes = ["--races", "5x100", "--laps", "1", "--clients", "4", "5", "--words", "50"]
    main([*sizes, "--largest", "4x200", "--whole", "3x40", "--out", str(tmp_path)])
    page = (tmp_path / "secure-sum-speed.md").read_text()
    rows = json.loads((tmp_path / "secure-sum-speed.json").read_text())["runs"]
    tables = [row["table"] for row in rows]
    assert tables.count("race") == 2 * (1 + 3)
    assert tables.count("clients") == 4
    assert {"words", "largest", "prices", "whole", "graph"} <= set(tables)
    for caption in ("Beside Flower's SecAgg+", "Distance to the limit", "More clients"):
        assert f"## {caption}" in page
    assert tables.count("load") == 6
    main(["--parts", "words", "--words", "70", "--out", str(tmp_path)])
    again = json.loads((tmp_path / "secure-sum-speed.json").read_text())["runs"]
    assert [row["words"] for row in again if row["table"] == "words"] == [70]
    assert [row for row in again if row["part"] != "words"] == [
        row for row in rows if row["part"] != "words"
    ]
    assert "None" not in page
    assert "{" not in page
