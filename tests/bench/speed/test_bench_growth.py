"""How a piece of work grows: all three files, what is refused, and in which order values are measured."""

import json

import pytest
from tiny import PERCEPTRON

from hyperframe.bench.speed import floor, growth
from hyperframe.bench.speed.clock import Timing
from hyperframe.bench.speed.growth import make_points, measure_growth
from hyperframe.bench.speed.growth_page import draw_growth, growth_markdown, growth_rows, growth_title
from hyperframe.bench.speed.timings import Measured
from hyperframe.errors import ConfigError

SETTINGS = [f"{key}={value}" for key, value in PERCEPTRON.items()]
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    monkeypatch.setattr(floor, "MATRIX", {"cpu": 32})
    monkeypatch.setattr(floor, "COPIED", {"cpu": 64})


@pytest.mark.slow
def test_the_command_writes_a_table_a_picture_and_results(hyperframe, tmp_path):
    out = tmp_path / "growth"
    arguments = ["bench", "growth", "step", "digits", *SETTINGS[:-1], "--repeats", "2", "--out", out]
    arguments.remove("trainer.networks=4")
    code, printed, err = hyperframe(*arguments, "--over", "trainer.networks=2,4")
    assert code == 0
    assert err.splitlines() == [f"measured: trainer.networks={value}" for value in (2, 4, 4, 2)]
    content = json.loads((out / "results.json").read_text())
    assert (content["benchmark"], content["over"], content["repeats"]) == ("step", "trainer.networks", 2)
    assert [point["value"] for point in content["points"]] == ["2", "4"]
    assert [point["sizes"]["networks"] for point in content["points"]] == [2, 4]
    for point in content["points"]:
        assert set(point["ways"]) == {"ours", "loop", "vmap"}
        assert point["floor_s"] == point["operations"] / point["matrix_product"]
    assert content["points"][1]["operations"] > content["points"][0]["operations"]
    page = (out / "growth.md").read_text()
    assert "| trainer.networks | hyperframe, s | loop over networks, s |" in page
    assert "hyperframe bench growth step digits" in page
    assert "--over trainer.networks=2,4" in page
    assert (out / "growth.png").read_bytes().startswith(PNG)
    assert str(out / "growth.png") in printed
    # Again over the same folder, and as JSON, now over what the piece itself takes.
    arguments[2] = "gauge"
    code, printed, _ = hyperframe(*arguments, "--over", "networks=2,3", "gauges=[scale]", "--json")
    assert code == 0
    content = json.loads(printed)
    assert [point["sizes"] for point in content["points"]] == [{"networks": 2}, {"networks": 3}]
    assert "--networks" not in (out / "growth.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["step", "--over", "trainer.netwroks=1,2"],
            "trainer: unknown key 'netwroks'; did you mean 'networks'",
        ),
        (["step", "--over", "networks=1,2"], "networks=1: unknown key 'networks'"),
        (["step", "--over", "trainer.networks=8"], "--over: trainer.networks has one value only, 8; give several"),
        (["step", "--over", "trainer.networks=8,-1"], "trainer.networks=-1: trainer.networks"),
        (["step", "--over", "trainer.networks=8,8"], "trainer.networks: 8 is given twice"),
        (["step", "--over", "trainer.networks"], "is no override; write KEY=VALUE"),
        (["step", "trainer.networks=3", "--over", "trainer.networks=1,2"], "trainer.networks is given twice"),
        (["gauge", "--over", "networks=1,0"], "networks: expected a whole number of at least 1, but got '0'"),
        (["evaluate", "--over", "examples=1,x"], "examples: expected a whole number of at least 1, but got 'x'"),
        (["trunk", "--over", "trainer.networks=2,3"], "trainer.networks=2: target 'mlp' has no trunk"),
        (["step", "--over", "trainer.networks=2,3", "-n", "2"], "'step' takes no --networks"),
        (["gauge", "--over", "networks=2,3", "-n", "2"], "--networks and --over say both how many"),
        (["dance", "--over", "trainer.networks=2,3"], "'dance' is not one of"),
        (["step"], "Missing option '--over'"),
    ],
)
def test_what_cannot_be_measured_is_told_and_nothing_is_written(hyperframe, tmp_path, arguments, message):
    what, *others = arguments
    settings = [text for text in SETTINGS if not text.startswith("trainer.networks")]
    code, _, err = hyperframe("bench", "growth", what, *settings, *others, "--out", tmp_path / "out", "--repeats", 1)
    assert code == 2
    assert message in " ".join(err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["config.yaml", "results.json"])
def test_results_of_something_else_are_not_written_over(hyperframe, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}")
    code, _, err = hyperframe("bench", "growth", "step", "--over", "trainer.networks=2,3", "--out", out)
    assert code == 2
    assert "holds results of something else; name an empty folder" in err
    (tmp_path / "file").touch()
    code, _, err = hyperframe("bench", "growth", "step", "--over", "trainer.networks=2,3", "--out", tmp_path / "file")
    assert code == 2
    assert "is a file; name a folder" in err


def test_fewer_networks_than_were_asked_for_are_told(hyperframe, tmp_path):
    direct = ["generator=direct", "generator.networks=2", "trainer.networks=2", "trainer.device=cpu", "diversity=none"]
    code, _, err = hyperframe(
        "bench", "growth", "sample", *direct, "--over", "networks=2,3", "--out", tmp_path / "out", "--repeats", "1"
    )
    assert code == 2
    assert "networks=3: there are 2 networks only, and 3 are asked for" in err


def points(registry, values):
    settings = [text for text in SETTINGS if not text.startswith("trainer.networks")]
    over = f"trainer.networks={','.join(values)}"
    return make_points("step", "digits", settings, over, registry, networks=1, examples=1)


@pytest.mark.parametrize(
    ("repeats", "order"),
    [(1, [("2", 1), ("4", 1)]), (5, [("2", 3), ("4", 3), ("4", 2), ("2", 2)])],
)
def test_values_are_measured_there_and_back_again(registry, monkeypatch, repeats, order):
    """The machine becomes slower by one second a call: both values still have the same mean."""
    seen, now = [], [0.0]

    def measured(what, config, memory, *, networks, examples, repeats, alone):
        seen.append((str(config.trainer.networks), repeats))
        walls = []
        for _ in range(repeats):
            now[0] += 1.0
            walls.append(now[0])
        where = dict.fromkeys(("benchmark", "config", "device", "threads", "torch"), "") | {"sizes": {}}
        timing = Timing(tuple(walls), tuple(walls), 8)
        rates = {"operations": 6, "bytes": 8, "matrix_product": 2.0, "memory_rate": 2.0}
        return Measured(where=where, timings={"ours": timing, "loop": None}, **rates)

    monkeypatch.setattr(growth, "measure", measured)
    key, some = points(registry, ["2", "4"])
    content = measure_growth("step", key, some, repeats=repeats, alone=False, told=lambda _: None)
    assert seen == order
    assert content["repeats"] == repeats
    assert [point["ways"]["loop"] for point in content["points"]] == [None, None]
    assert [point["floor_s"] for point in content["points"]] == [3.0, 3.0]
    assert [point["unfused_s"] for point in content["points"]] == [4.0, 4.0]


def test_values_with_other_threads_and_devices_are_not_labelled_as_the_first(registry, monkeypatch):
    places = iter([("cpu", 1), ("a GPU", None)])

    def measured(what, config, memory, **_):
        where = dict.fromkeys(("benchmark", "config", "torch"), "") | {"sizes": {}}
        where |= zip(("device", "threads"), next(places), strict=True)
        rates = {"operations": 6, "bytes": 8, "matrix_product": 2.0, "memory_rate": 2.0}
        return Measured(where=where, timings={"ours": Timing((1.0,), (1.0,), 8)}, **rates)

    monkeypatch.setattr(growth, "measure", measured)
    key, some = points(registry, ["2", "4"])
    content = measure_growth("step", key, some, repeats=1, alone=False, told=lambda _: None)
    assert (content["device"], content["threads"]) == ("cpu and a GPU", None)
    assert [point["device"] for point in content["points"]] == ["cpu", "a GPU"]
    assert content["points"][0]["threads"] == 1
    assert "thread" not in growth_title({**content, "benchmark": "step"})


def content_of(values, ways):
    point = {"floor_s": 0.0, "unfused_s": 0.1, "ways": ways}
    shared = {"benchmark": "gauge", "config": "digits", "over": "target.hidden", "device": "A GPU", "threads": None}
    return {
        **shared,
        "machine": "a machine",
        "torch": "2",
        "revision": None,
        "repeats": 3,
        "points": [{"value": value, **point} for value in values],
    }


@pytest.mark.parametrize("values", [["8", "16"], ["[8]", "[8,16]"], ["a", "b"], ["inf", "1"], ["0", "1"]])
def test_pages_and_pictures_take_any_values_and_ways_that_do_not_fit(tmp_path, values):
    ways = {"ours": {"wall_s": 0.25, "cpu_s": 0.25, "peak_bytes": None}, "loop": None}
    content = content_of(values, ways)
    assert growth_rows(content)[1] == [values[0], "0.25", "–", "0", "0.1", "–", "–"]
    page = growth_markdown(content, ["hyperframe", "bench", "a b"])
    assert page.startswith("# Gauge of digits over target.hidden on A GPU\n")
    assert "hyperframe bench 'a b'" in page
    draw_growth(tmp_path / "a.png", content)
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_a_key_of_the_piece_is_no_key_of_the_configuration(registry):
    key, found = make_points("evaluate", "digits", [], "examples=5,6", registry, networks=3, examples=9)
    assert key == "examples"
    assert [(point.networks, point.examples) for point in found] == [(3, 5), (3, 6)]
    with pytest.raises(ConfigError, match="unknown key 'examples'"):
        make_points("sample", "digits", [], "examples=5,6", registry, networks=3, examples=9)
