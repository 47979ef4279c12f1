"""Notebooks show tables that hold what is known, and nothing that a page would have to fetch or to run."""

import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import hyperframe as hf
from hyperframe.networks.sampled import Networks
from hyperframe.runs.run import Run
from hyperframe.targets.notebook import LAYERS, html_table

ALLOWED = {"table": {"style"}, "caption": {"style"}, "thead": set(), "tbody": set(), "tr": set()}
ALLOWED |= {"th": {"style"}, "td": {"style"}, "b": set()}


class Reader(HTMLParser):
    """Reads a table's cells row by row; fails where it is not well formed or holds what a table does not need."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.title = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert {name for name, _ in attributes} <= ALLOWED[tag]
        for _, value in attributes:
            # The page's own colours, so that it can be light or dark.
            assert not re.search(r"url|expression|background|color|#", value)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif "caption" in self.open:
            self.title += data

    def handle_comment(self, data):
        raise AssertionError(data)


def shown(what):
    return Reader(what._repr_html_())


def test_a_run_shows_what_was_trained_and_how_far(run):
    found = shown(run)
    rows = dict(found.rows)
    assert found.title == f"run {run.folder.name}"
    assert rows["state"] == "step 10 of 10, finished; on cpu"
    assert rows["target"] == f"mlp: {run.experiment.target.spec.num_weights:,} weights"
    assert rows["generator"] == f"mlp: {run.experiment.generator.describe()['parameters']:,} parameters"
    assert rows["task"] == "digits: inputs [1, 8, 8]"
    assert rows["cost"] == f"{10 * 4 * 8} gradient evaluations"
    assert str(run.folder) in rows["folder"]


def test_an_evaluation_is_shown_where_one_is_kept(small, tmp_path, monkeypatch):
    run = small(tmp_path / "run")
    assert "run.evaluate() makes one" in dict(shown(run).rows)["evaluation"]
    results = run.evaluate()
    monkeypatch.setattr(Networks, "chunks", lambda *_: pytest.fail("networks run"))
    rows = dict(shown(run).rows)
    assert rows["evaluation"] == "6 networks, 360 examples (test), at step 6"
    accuracy = results["accuracy"]
    assert rows["accuracy of one network ↑"] == f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f} %"
    assert rows["ensemble: majority vote ↑"] == f"{100 * results['ensemble']['majority']:.2f} %"


@pytest.mark.parametrize("content", ["", "[]", '{"accuracy": "<b>", "split": "<script>"}', '{"ensemble": 3}'])
def test_an_evaluation_that_was_changed_by_hand_does_no_harm(small, tmp_path, content):
    run = small(tmp_path / "run", trainer__steps=1)
    file = run.folder / "analyses" / "evaluation" / "results.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert "evaluation" in dict(shown(run).rows)


def test_networks_show_what_they_are(run):
    found = shown(run.sample(3))
    rows = dict(found.rows)
    assert found.title == "3 networks"
    assert rows["target"] == "mlp: inputs [1, 8, 8], 10 outputs"
    assert rows["weights"] == f"{run.experiment.target.spec.num_weights:,} in each network, torch.float32 on cpu"
    assert (rows["task"], rows["statistics"]) == ("digits", "none")
    assert str(run.folder) in rows["origin"]


def test_a_spec_shows_its_layers(run):
    spec = run.experiment.target.spec
    found = shown(spec)
    assert found.title == f"target mlp: {spec.num_weights:,} weights, inputs [1, 8, 8], 10 outputs"
    heads, *rows = found.rows
    assert [row[0] for row in rows] == spec.layer_names
    first = dict(zip(heads, rows[0], strict=True))
    layer = spec.layers[0]
    assert (first["filters"], first["filter size"]) == (str(layer.filters), str(layer.filter_size))
    assert (first["weights"], first["reads"], first["writes"]) == (str(layer.num_weights), "–", layer.writes[0])


def test_a_spec_of_many_layers_is_cut():
    layers = [part for _ in range(LAYERS + 5) for part in (nn.Linear(3, 3), nn.ReLU())]
    spec = hf.trace(nn.Sequential(*layers), (3,)).spec
    rows = shown(spec).rows
    assert len(rows) == LAYERS + 2
    assert rows[-1][0] == "… and 5 more"
    assert rows[-1][3] == str(5 * 12)


def test_a_spec_without_its_module_knows_no_sizes():
    spec = hf.targets.TargetSpec(
        name="<i>own</i>",
        input_shape=(4,),
        num_outputs=2,
        units=[hf.targets.UnitSpec(name="a&b", size=2, ops=["relu"])],
        layers=[
            hf.targets.LayerSpec(
                name="in", filters=2, writes=[hf.targets.Slice("a&b", [0, 1])], params=[hf.targets.kernel("w", "o i")]
            ),
            hf.targets.LayerSpec(name="out", filters=2, reads=["a&b"], params=[hf.targets.kernel("v", "o i")]),
        ],
    )
    found = shown(spec)
    assert found.title == "target <i>own</i>: not known yet weights, inputs [4], 2 outputs"
    assert found.rows[1][2:6] == ["not known yet", "not known yet", "–", "a&b (2 units)"]


def test_all_texts_are_escaped(run):
    evil = '<script>alert("x")</script>'
    assert evil not in html_table(evil, [[evil, evil]], [evil, evil])
    assert Reader(html_table(evil, [[evil, 1]])).rows == [[evil, "1"]]
    named = Run(run.folder.parent / evil, run.config, run.step, run.experiment, run.registry)
    assert evil not in named._repr_html_()
    nets = run.sample(1)
    nets.origin = evil
    assert evil not in nets._repr_html_()


def test_weights_on_a_page_are_not_read(run, monkeypatch):
    nets = run.sample(2)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda _: pytest.fail("numbers are read"))
    assert "2 networks" in nets._repr_html_()
