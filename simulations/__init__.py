"""The lab: marketplace, engines, runner, report, benchmarks."""
