"""What an evaluation measured, and what it tells of where its networks come from."""

from hyperframe.experiment.evaluation import measure, measured_part


def test_what_was_measured_is_told_from_where_networks_come_from(small, tmp_path):
    run = small(tmp_path / "run")
    file = run.write_samples(tmp_path / "held", 3)
    drawn, read = run.evaluate(3), run.evaluate(samples=file)
    assert list(drawn)[:5] == ["run", "step", "seed", "gradient_evaluations", "split"]
    assert list(read)[:3] == ["run", "samples", "split"]
    found = measure(run.experiment, run.sample(3), run.data("test"))
    assert measured_part(drawn) == measured_part(read) == found
