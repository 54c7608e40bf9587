import io
import json

from simulations.benchmarks.noise import TARGETS, main


def test_the_last_line_is_one_object_with_every_source(capsys):
    out = io.StringIO()
    main(draws=2000, out=out)
    result = json.loads(out.getvalue())
    assert result["draws"] == 2000
    assert set(TARGETS) <= set(result["draws_per_second"])
    assert set(result["met"]) == set(TARGETS)
    assert all(rate > 0 for rate in result["draws_per_second"].values())
    assert "draws a second" in capsys.readouterr().err
