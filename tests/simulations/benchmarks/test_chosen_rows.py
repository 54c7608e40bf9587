import io
import json

import pytest

from simulations.benchmarks.chosen_rows import THRESHOLDS, main


def test_the_last_line_is_one_object_with_every_sum(capsys):
    out = io.StringIO()
    main([(4_000, 300)], out=out)
    sums = json.loads(out.getvalue())["sums"]
    assert [one["threshold"] for one in sums] == list(THRESHOLDS)
    assert [one["kept"] for one in sums] == sorted((one["kept"] for one in sums), reverse=True)
    assert sums[0]["kept"] == 4_000
    assert sums[-1]["cosine"] > sums[0]["cosine"] > 0
    assert sums[0]["count_noise_std"] == 0
    assert sums[1]["count_noise_std"] == pytest.approx(1.8 / 0.1**0.5)
    assert "all rows" in capsys.readouterr().err
