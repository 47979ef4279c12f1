"""Sweeps: which overrides reach which cell, what is trained again, shares of an array, and cells that fail."""

import json
import statistics
import time

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.bench import sweep
from hyperframe.bench.grid import labels_of, make_cells, read_values, share_of, split_values, swept_keys
from hyperframe.bench.processes import run_commands
from hyperframe.bench.sweep import check_sweep, command_of, compare_sweep, is_done, state_of, threads_of, train_cells
from hyperframe.errors import ConfigError, RunError

TINY = {**PERCEPTRON, "trainer.steps": 3, "trainer.checkpoint_every": 2, "evaluation.examples": 20}
SETTINGS = [f"{key}={value}" for key, value in TINY.items()]
FAILING = "trainer.rate=1e-3,1e30"
"""The second diverges in its second step."""


def cells_of(out, registry, *texts):
    return make_cells("digits_hypernetwork", read_values([*SETTINGS, *texts]), out, registry)


@given(st.text("ab,[]{}'\" "))
def test_pieces_are_the_text_between_commas(text):
    assert ",".join(split_values(text)) == text


@given(st.lists(st.sampled_from(["1", "-1e3", "[]", "[a, b]", "{name: a, weight: 2}", "'a,b'", '"[,"', "a[1", "it's"])))
def test_values_are_split_between_each_other_only(pieces):
    assert split_values(",".join(pieces)) == (pieces or [""])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["trainer.steps=5"], "no key has several values; write KEY=VALUE,VALUE"),
        ([], "no key has several values"),
        (["objective.lambda=1,10,1.0"], "objective.lambda: 1.0 is given twice; give it once"),
        (["objective.lambda=1,"], "objective.lambda: no value stands behind '='"),
        (["target=mlp,lenet", "target.name=mlp"], "target is given twice"),
        (["seed=0,1", "trainer.seed=2"], "trainer.seed is given twice"),
        (["trainer.steps"], "'trainer.steps' is no override; write KEY=VALUE"),
        (["gauges=[scale,[scale]"], "gauges: '\\[scale,\\[scale\\]' is no YAML value"),
        (["trainer.seed=" + ",".join(map(str, range(1001))), "a=1"], "the grid has 1,001 cells; take at most 1,000"),
    ],
)
def test_wrong_values_are_named(texts, message):
    with pytest.raises(ConfigError, match=message):
        read_values(texts)


def test_each_cell_has_the_values_of_its_name(registry, tmp_path):
    texts = ["objective.lambda=1,10", "gauges=[scale],[scale,logit_bias],[]", "seed=3,0"]
    cells = cells_of(tmp_path, registry, *texts)
    assert [cell.folder.name for cell in cells[:3]] == [
        "lambda-1_gauges-scale-3",
        "lambda-1_gauges-scale-logit_bias-3",
        "lambda-1_gauges-none-3",
    ]
    assert [cell.seed for cell in cells] == [3] * 6 + [0] * 6
    found = [
        (
            cell.config.objective.options.lambda_,
            [gauge.name for gauge in cell.config.gauges],
            cell.config.trainer.seed,
            cell.config.trainer.steps,
        )
        for cell in cells
    ]
    lists = (["scale"], ["scale", "logit_bias"], [])
    assert found == [(value, names, seed, 3) for seed in (3, 0) for value in (1, 10) for names in lists]
    assert len({cell.label for cell in cells}) == 6
    for cell in cells:
        assert cell.config == hf.api.load_config("digits_hypernetwork", list(cell.settings), registry)


def test_names_of_cells_differ_and_can_be_folders(registry, tmp_path):
    points = [
        {"target.hidden": hidden, "generator.hidden": "8", "diversity.0": "none"} for hidden in ("[a, b]", "a-b", "ä/")
    ]
    assert labels_of(points, "") == [
        "target.hidden-a-b_generator.hidden-8_diversity.0-none",
        "target.hidden-a-b_generator.hidden-8_diversity.0-none~2",
        "target.hidden-none_generator.hidden-8_diversity.0-none",
    ]
    (long, other) = labels_of([{"task.folder": "a" * 300}, {"task.folder": "a" * 301}], "")
    assert (len(long), other) == (80, f"{long}~2")
    (one, _) = cells_of(tmp_path, registry, "seed=0,1")
    assert one.label == "digits_hypernetwork"


def test_an_unknown_key_or_value_of_one_cell_is_told_with_its_name(registry, tmp_path):
    with pytest.raises(ConfigError, match=r"rate-0: trainer\.rate: expected a number, above 0, but got 0"):
        cells_of(tmp_path, registry, "trainer.rate=1e-3,0")
    with pytest.raises(ConfigError, match="unknown key 'stepz'"):
        cells_of(tmp_path, registry, "trainer.stepz=1,2")


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 5), st.integers(1, 3))
def test_tasks_of_an_array_share_all_cells(count, cells, first, step):
    shares = [
        share_of(
            list(range(cells)),
            {
                "SLURM_ARRAY_TASK_ID": str(first + step * place),
                "SLURM_ARRAY_TASK_COUNT": str(count),
                "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_STEP": str(step),
            },
        )
        for place in range(count)
    ]
    assert sorted(cell for share in shares for cell in share) == list(range(cells))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_an_array_all_cells_are_ones_own_and_gaps_are_told():
    assert share_of([1, 2, 3], {"SLURM_JOB_ID": "7"}) == [1, 2, 3]
    gap = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "0"}
    with pytest.raises(ConfigError, match="has gaps: task 7 of 3; number its tasks as --array=0-7 does"):
        share_of([1], gap)
    with pytest.raises(ConfigError, match="are no numbers"):
        share_of([1], {**gap, "SLURM_ARRAY_TASK_COUNT": "many"})


@pytest.fixture(scope="module")
def grid(tmp_path_factory, registry):
    """A grid of four cells that is trained: two values from two seeds."""
    cells = cells_of(tmp_path_factory.mktemp("grid") / "out", registry, "objective.lambda=1,1000", "seed=0,1")
    ended = []
    assert train_cells(cells, "digits_hypernetwork", 2, lambda *told: ended.append(told)) == {}
    assert sorted(ended) == sorted((cell.folder.name, None) for cell in cells)
    return cells


def recorded(monkeypatch, reasons=()):
    """Let no process be started; return the commands that would be."""
    found = {}

    def run(commands, logs, jobs, ended):
        found.update(commands)
        for name in commands:
            ended(name, dict(reasons).get(name))

    monkeypatch.setattr(sweep, "run_commands", run)
    return found


@pytest.mark.slow
def test_cells_are_the_runs_that_their_commands_train(grid, registry, tmp_path):
    assert all(map(is_done, grid))
    command = command_of(attrs.evolve(grid[1], out=tmp_path), "digits_hypernetwork", None)
    assert command == ["train", "digits_hypernetwork", *grid[1].settings, "--out", str(tmp_path / "runs/lambda-1000-0")]
    alone = hf.train("digits_hypernetwork", {**TINY, "objective.lambda": 1000, "trainer.seed": 0}, out=tmp_path / "one")
    weights = hf.load(grid[1].folder, device="cpu").sample(2).weights
    for name, value in alone.sample(2).weights.items():
        assert value.equal(weights[name])


@pytest.mark.slow
def test_finished_cells_are_not_trained_again(grid, registry, monkeypatch):
    commands = recorded(monkeypatch)
    check_sweep(grid, registry)
    assert train_cells(grid, "digits_hypernetwork", 1, print) == {}
    assert commands == {}
    more = make_cells(
        "digits_hypernetwork",
        read_values([*SETTINGS, "objective.lambda=1,1000,9", "seed=0,1"]),
        grid[0].out,
        registry,
    )
    check_sweep(more, registry)
    train_cells(more, "digits_hypernetwork", 1, print)
    assert list(commands) == ["lambda-9-0", "lambda-9-1"]


@pytest.mark.slow
def test_a_begun_cell_goes_on_and_one_of_other_settings_is_told(registry, tmp_path, monkeypatch):
    cells = cells_of(tmp_path, registry, "objective.lambda=1,1000", "trainer.max_seconds=60")
    hf.train(
        "digits_hypernetwork", {**TINY, "objective.lambda": 1, "trainer.stop_after": 2, "trainer.threads": 2},
        out=cells[0].folder,
    )  # fmt: skip
    check_sweep(cells, registry)
    assert [state_of(cell) for cell in cells] == ["begun", "new"]
    commands = recorded(monkeypatch)
    train_cells(cells, "digits_hypernetwork", 1, print)
    assert commands["lambda-1-0"] == ["train", *cells[0].settings, "--resume", str(cells[0].folder)]
    hf.resume(cells[0].folder)
    assert state_of(cells[0]) == "begun"  # it is not evaluated yet
    hf.load(cells[0].folder, device="cpu").evaluate()
    assert state_of(cells[0]) == "finished"
    changed = cells_of(tmp_path, registry, "objective.lambda=1,1000", "trainer.rate=1e-3")
    with pytest.raises(RunError, match=r"lambda-1-0 holds a run of other settings \(trainer.rate: 0.002 → 0.001\)"):
        check_sweep(changed, registry)
    with pytest.raises(RunError, match="is a run; name an empty folder"):
        check_sweep([attrs.evolve(cell, out=cells[0].folder) for cell in cells], registry)


def test_several_trainings_share_the_threads(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep.torch, "get_num_threads", lambda: 8)
    assert [threads_of(jobs) for jobs in (1, 2, 3, 20)] == [None, 4, 2, 1]
    commands = recorded(monkeypatch)
    train_cells(cells_of(tmp_path, registry, "seed=0,1", "trainer.threads=null"), "digits_hypernetwork", 3, print)
    assert all("trainer.threads=2" in command for command in commands.values())
    commands.clear()
    train_cells(cells_of(tmp_path, registry, "seed=0,1", "trainer.threads=3"), "digits_hypernetwork", 3, print)
    assert all([one for one in command if "threads" in one] == ["trainer.threads=3"] for command in commands.values())


@pytest.mark.slow
def test_repeats_are_one_point_with_their_mean(grid, registry, hyperframe, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    content = compare_sweep(grid, grid, registry, {}, joined=True)
    assert [row["run"] for row in content["runs"]] == ["lambda-1", "lambda-1000"] * 2
    assert content["different"] == {"objective.lambda": {"lambda-1": 1.0, "lambda-1000": 1000.0}}
    assert json.loads((grid[0].out / "results.json").read_text())["runs"] == content["runs"]
    assert (grid[0].out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    votes = [hf.load(cell.folder, device="cpu").evaluate()["ensemble"]["majority"] for cell in grid[::2]]
    arguments = ["digits_hypernetwork", *SETTINGS, "objective.lambda=1,1000", "seed=0,1", "--out", grid[0].out]
    code, out, err = hyperframe("sweep", *arguments)
    assert (code, err) == (0, "")
    cells = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "majority vote" in line]
    assert cells[0][2] == f"{100 * statistics.fmean(votes):.2f} ± {100 * statistics.stdev(votes):.2f} %"
    code, out, _ = hyperframe("sweep", *arguments, "--json")
    assert json.loads(out)["runs"] == content["runs"]


@pytest.mark.slow
def test_the_last_task_of_an_array_shows_the_table(grid, registry, tmp_path, monkeypatch):
    more = cells_of(grid[0].out, registry, "objective.lambda=1,1000,9", "seed=0,1")
    monkeypatch.setattr(sweep, "compare", None)
    content = compare_sweep(more, grid, registry, {}, joined=True)
    assert content["runs"] == []
    assert content["open"] == ["cells of other tasks that are not finished: 2; the last task shows the table"]
    content = compare_sweep([grid[0], more[2]], [grid[0], more[2]], registry, {}, joined=True)
    assert content["open"] == [
        "not finished: lambda-9-0; the same command goes on",
        "finished cells: 1; a table needs two",
    ]


@pytest.mark.slow
def test_a_cell_that_fails_is_named_and_the_others_are_trained(hyperframe, tmp_path):
    arguments = ["sweep", "digits_hypernetwork", *SETTINGS, FAILING, "--out", "out", "--jobs", "2"]
    code, out, err = hyperframe(*arguments)
    assert (code, out) == (1, "")
    assert "rate-1e-3-0: ended\n" in err
    assert "rate-1e30-0: failed\n" in err
    lines = err.splitlines()[-2:]
    assert lines[0].startswith("rate-1e30-0 failed: the loss or its gradient was not finite in step ")
    assert lines[0].endswith(f"(see {tmp_path / 'out/logs/rate-1e30-0.txt'})")
    assert lines[1] == "finished cells: 1; a table needs two"
    code, out, _ = hyperframe(*arguments, "--dry-run", "--json")
    assert code == 0
    assert {row["cell"]: row["state"] for row in json.loads(out)["cells"]} == {
        "rate-1e-3-0": "finished",
        "rate-1e30-0": "begun",
    }


def test_the_command_lists_cells_and_refuses_wrong_ones_before_anything_is_written(hyperframe, tmp_path, monkeypatch):
    arguments = ["sweep", "digits_hypernetwork", *SETTINGS, "objective.lambda=1,10", "--out", "out"]
    code, out, err = hyperframe(*arguments, "--dry-run")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("lambda-1-0 (new): hyperframe train digits_hypernetwork target=")
    assert second.endswith(f"objective.lambda=10 --out {tmp_path / 'out/runs/lambda-10-0'}")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    assert hyperframe(*arguments, "--dry-run")[1] == f"{second}\n"
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    for text, message in (
        ("trainer.rate=1e-3,0", "hyperframe: rate-0: trainer.rate: expected a number"),
        ("gauges=[scale],[scael]", "hyperframe: gauges-scael: unknown gauge 'scael'"),
        ("trainer.shared_examples=0,5", "hyperframe: shared_examples-0: "),
        ("entropy=renyi,absent", "hyperframe: entropy-absent: unknown entropy 'absent'"),
    ):
        code, out, err = hyperframe("sweep", "digits_hypernetwork", *SETTINGS, text, "--out", "out")
        assert (code, out) == (2, "")
        assert err.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_logs_that_cannot_be_made_is_named(hyperframe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "logs").write_text("no folder")
    code, _, err = hyperframe("sweep", "digits_hypernetwork", *SETTINGS, "objective.lambda=1,10", "--out", "out")
    assert code == 2
    assert f"{tmp_path / 'out' / 'logs'} cannot be written: File exists" in err


def test_runs_of_no_cell_are_named(hyperframe, tmp_path):
    (tmp_path / "out/runs/lambda-3-0").mkdir(parents=True)
    arguments = ["sweep", "digits_hypernetwork", *SETTINGS, "objective.lambda=1,10", "--out", "out"]
    assert "also holds lambda-3-0: no cells of this grid, left out" in hyperframe(*arguments, "--dry-run")[2]


def test_keys_by_which_points_differ_are_not_the_seed():
    assert swept_keys(read_values(["seed=0,1", "trainer.rate=1,2", "trainer.steps=3"])) == ["trainer.rate"]


@pytest.mark.slow
def test_an_end_lets_all_processes_save(tmp_path):
    long = dict.fromkeys(("trainer.steps", "trainer.checkpoint_every", "evaluation.every"), 1000000)
    settings = [f"{key}={value}" for key, value in {**TINY, **long, "trainer.log_every": 1}.items()]
    commands = {
        "wrong": ["train", "digitz"],
        "long": ["train", "digits_hypernetwork", *settings, "--out", str(tmp_path / "run")],
    }
    reasons = []

    def ended(name, reason):
        reasons.append((name, reason))
        while not (tmp_path / "run" / "metrics.jsonl").is_file():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_commands(commands, tmp_path, 2, ended)
    ((name, reason),) = reasons
    assert name == "wrong"
    assert reason.startswith("unknown configuration 'digitz'; did you mean 'digits'?")
    step = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert 0 < step < 1000000
    assert f"paused at step {step} of 1000000" in (tmp_path / "long.txt").read_text()
