"""The benchmark of the service measures a real one; no figure is held to the clock."""

import io
import json

from simulations.benchmarks.service import main


def test_it_measures_a_service_and_the_alternative(capsys):
    out = io.StringIO()
    main(sizes=(200,), calls=10, out=out)
    found = json.loads(out.getvalue())
    (result,) = found["results"]
    assert (result["items"], result["calls"]) == (200, 10)
    assert 0 < result["milliseconds"]["p50"] <= result["milliseconds"]["p99"]
    assert result["calls_per_second"] > 0
    for part in ("product", "select", "sort", "stable_sort"):
        assert result[f"{part}_milliseconds"] >= 0
    assert found["machine"]["cores"]
    assert "Recommend, top 10" in capsys.readouterr().err
