import io
import json

from simulations.benchmarks.noisy_sum import main


def test_the_last_line_is_one_object_with_every_ratio(capsys):
    out = io.StringIO()
    small = ["--users", "3", "--width", "4", "--parameters", "9", "--steps", "2"]
    main(["--items", "700", "800", *small, "--repeats", "1"], out)
    result = json.loads(out.getvalue())
    assert set(result["items"]) == {"700", "800"}
    for found in result["items"].values():
        for name in ("slow_over_fast", "eager_over_noise", "eager_over_deferred"):
            assert found[f"{name}_seconds"] > 0
            assert found[f"{name}_processor_seconds"] > 0
        assert found["peak_mb"] >= found["peak_mb_before"] > 0
    assert result["load"]["users"] == 3
    assert "deferred" in capsys.readouterr().err
