"""Networks that look rows up by their inputs: traced, trained, told what is no row."""

import random
import shutil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Net, chain, dense, learnt
from planted import plant_all
from tiny import CHECKED
from torch import nn
from tracing_trials import check_symmetries

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.config.in_memory import OwnCode
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, DataError, NotApplicableError, RunError, SpecError
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.targets import traced_target
from hyperframe.networks.generator import initial_std
from hyperframe.networks.passes.batching import BatchedForms
from hyperframe.runs.fingerprints import probe_outputs
from hyperframe.targets.embeddings import EXAMPLES_AT_ONCE, check_rows
from hyperframe.targets.symmetry.exact import exact_copy, redraw
from hyperframe.targets.symmetry.orbits import orbits
from hyperframe.targets.tracing import tracer
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.weights import unpack

ROWS, TOKENS, UNITS = 11, 4, 6
RNG = torch.Generator().manual_seed(0)
X = torch.randint(0, ROWS, (60, TOKENS), generator=RNG)
Y = X[:, 0] % 3


def bag(mode="mean", **options):
    return chain(nn.EmbeddingBag(ROWS, UNITS, mode=mode, **options), nn.ReLU(), dense(UNITS, 3))


def table(**options):
    return nn.Embedding(ROWS, UNITS, **options)


def transformer(positions=TOKENS, **options):
    layer = nn.TransformerEncoderLayer(UNITS, 2, 8, batch_first=True, **options)
    return Net(
        lambda m, x: m.out(m.layers(m.tokens(x) + m.positions(torch.arange(TOKENS))).mean(1)),
        tokens=table(),
        positions=nn.Embedding(positions, UNITS),
        layers=nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
        out=dense(UNITS, 3),
    )


def with_a_number():
    """A column that says which row, and one with a number."""
    return Net(
        lambda m, x: m.out(torch.cat([m.t(x[:, 0].long()), m.a(x[:, 1:] / ROWS)], 1).relu()),
        t=table(),
        a=dense(TOKENS - 1, 5),
        out=dense(UNITS + 5, 3),
    )


# Symmetries. Of each network: how many factors, signs, and exchangeable units in a group.

KNOWN = {
    "means of bags": (bag, 6, 0, [6]),
    "sums of bags": (lambda: bag("sum"), 6, 0, [6]),
    "maxima of bags": (lambda: bag("max"), 6, 0, [6]),
    "bags with a row that does not count": (lambda: bag(padding_idx=3), 6, 0, [6]),
    "an odd function of means": (
        lambda: chain(nn.EmbeddingBag(ROWS, UNITS), nn.Hardtanh(), dense(UNITS, 3)),
        0,
        6,
        [6],
    ),
    "an odd function of maxima": (
        lambda: chain(nn.EmbeddingBag(ROWS, UNITS, mode="max"), nn.Hardtanh(), dense(UNITS, 3)),
        0,
        0,
        [6],
    ),
    "nothing behind": (
        lambda: Net(lambda m, x: m.out(m.t(x).mean(1)), t=table(), out=dense(UNITS, 3)),
        6,
        6,
        [6],
    ),
    "a table that is used twice": (
        lambda: Net(lambda m, x: m.out((m.t(x[:, 0]) - m.t(x[:, 1])).relu()), t=table(), out=dense(UNITS, 3)),
        6,
        0,
        [6],
    ),
    "two tables that are added": (
        lambda: Net(
            lambda m, x: m.out((m.t(x) + m.p(torch.arange(TOKENS))).relu().mean(1)),
            t=table(),
            p=nn.Embedding(9, UNITS),
            out=dense(UNITS, 3),
        ),
        6,
        0,
        [6],
    ),
    "a table that is the last layer's kernel as well": (
        lambda: Net(lambda m, x: F.linear(m.t(x).mean(1).relu(), m.t.weight), t=table()),
        0,
        0,
        [],
    ),
    "rows by what was looked up": (
        lambda: Net(lambda m, x: m.out(m.t(m.t(x).sum((1, 2)).abs().long() % ROWS).relu()), t=table(), out=dense(6, 3)),
        0,
        0,
        [6],  # a sum over units does not see which is which
    ),
    "a transformer": (transformer, None, None, None),
    "a transformer with more positions": (lambda: transformer(9), None, None, None),
    "a number beside rows": (with_a_number, 11, 0, [5, 6]),
}


LONG = {
    ("a transformer", True),
    ("a transformer with more positions", True),
    ("a transformer with more positions", False),
}
CASES = [
    pytest.param(name, checked, id=f"{name}-{words}", marks=[pytest.mark.slow] * ((name, checked) in LONG))
    for name in KNOWN
    for checked, words in ((True, "checked"), (False, "by rules alone"))
]


@pytest.mark.parametrize(("name", "checked"), CASES)
def test_symmetries_of_tables_are_found_and_hold(name, checked, monkeypatch):
    if not checked:
        monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    make, factors, signs, groups = KNOWN[name]
    torch.manual_seed(0)
    module = make()
    traced = trace(module, example=X)
    of = orbits(traced.structure, shift_invariant=True)
    assert traced.spec.num_weights == sum(parameter.numel() for parameter in module.parameters())
    if factors is not None:
        assert (of.counts["scaling"], of.counts["sign"]) == (factors, signs)
        assert sorted(map(len, traced.structure.classes)) == groups
    rng = torch.Generator().manual_seed(0)
    inputs = traced.tried_on.draw(12, rng, torch.float64)
    assert inputs.dtype == torch.int64
    weights = redraw(traced.spec, 1, rng)
    for seed in range(3):
        check_symmetries(traced, of, exact_copy(module), weights, inputs, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maxima of bags", "a table that is used twice", "a number beside rows"])
def test_wrong_labels_of_tables_are_caught(name):
    torch.manual_seed(0)
    module = KNOWN[name][0]()
    traced = trace(module, example=X)
    results = [result for _, result in plant_all(module, traced.structure, 10, random.Random(0), traced.tried_on)]
    assert "missed" not in results
    assert results.count("found") >= 3


def test_a_table_starts_as_torch_begins_it():
    spec = trace(bag(), example=X).spec
    assert torch.equal(initial_std(spec, spec.layers[0]), torch.full((ROWS,), 2**0.5))
    spec = trace(KNOWN["nothing behind"][0](), example=X).spec
    assert torch.equal(initial_std(spec, spec.layers[0]), torch.ones(ROWS))


# What a module is tried on.


@pytest.mark.slow
def test_an_example_is_taken_as_it_is_or_as_whole_numbers():
    assert trace(bag(), example=X).tried_on.whole
    assert trace(bag(), example=X.float()).tried_on.whole
    assert not trace(with_a_number(), example=X.float()).tried_on.whole
    assert trace(dense(TOKENS, 2), example=torch.rand(5, TOKENS)).tried_on.examples is not None
    for wrong, why in (
        ({}, "hand over the shape"),
        ({"example": torch.tensor(3)}, "must be a tensor"),
        ({"example": X[:0]}, "one example or more"),
        ({"example": [[1, 2]]}, "but is list"),
        ({"example": X, "input_shape": [7]}, r"shape \[7\], but the example's \[4\]"),
    ):
        with pytest.raises(SpecError, match=why):
            trace(bag(), **wrong)


def test_a_message_says_how_to_hand_whole_numbers_over():
    with pytest.raises(SpecError, match=r"runs on whole numbers.*trace\(module, example=x\)"):
        trace(bag(), [TOKENS])
    with pytest.raises(SpecError, match=r"runs on whole numbers.*int64"):
        trace(bag(), example=X / 255)
    with pytest.raises(SpecError, match=r"row -\d of 't.weight', which has 11 rows.*trace\(module, example=x\)"):
        trace(with_a_number(), [TOKENS])


@pytest.mark.slow
def test_a_module_that_clamps_its_inputs_itself_gets_them_as_they_are():
    """It runs on normal numbers too, which would look up its first rows alone, and standardised inputs likewise."""
    module = Net(lambda m, x: m.out(m.t(x.long().clamp(0, ROWS - 1)).mean(1)), t=table(), out=dense(UNITS, 3))
    built = build(module, (X, Y))
    assert built.target.inputs is None
    assert set(built.target.tried_on.examples.unique().tolist()) <= set(range(ROWS))
    positions = Net(lambda m, x: m.out(x + m.t(torch.arange(UNITS)[:1])), t=table(), out=dense(UNITS, 3))
    built = build(positions, (torch.randint(0, 9, (60, UNITS), generator=RNG), Y))  # its lookups are not by inputs
    assert built.target.inputs is not None
    assert built.target.tried_on.examples is None


@pytest.mark.slow
def test_numbers_that_a_module_does_not_take_are_not_standardised():
    """A square root is finite for the data, and not for normal numbers."""
    module = Net(lambda m, x: m.out(x.sqrt()), out=dense(TOKENS, 3))
    with pytest.warns(hf.HyperframeWarning, match="does not run on all numbers.*not standardised"):
        built = build(module, (X + 0.5, Y))
    assert built.target.inputs is None
    assert not built.target.tried_on.whole


def build(module, data, **changes):
    own = OwnCode(module, None, data)
    return build_experiment(
        load_config("digits", own.chosen({**CHECKED, **changes}), make_registry().with_plugins([own]))
    )


# Trained, and used.


def train(out, module, data=(X, Y), **changes):
    return hf.train(module=module, data=data, overrides={**CHECKED, **changes}, out=out)


MODULES = {
    "bags": bag,
    "a transformer": lambda: transformer(dropout=0.1),
    "a number beside rows": with_a_number,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_a_network_that_looks_rows_up_is_trained_and_used_where_its_data_are_not(name, tmp_path):
    module = MODULES[name]()
    run = train(tmp_path / "run", module, **{"trainer.steps": 2})
    drawn = run.sample(3).predict(X[:5])
    assert run.evaluate()["networks"] == 4
    assert run.experiment.target.inputs is None
    moved = shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "moved")
    loaded = hf.load(moved, module=module, device="cpu")
    networks = loaded.sample(3)
    assert torch.equal(networks.predict(X[:5]), drawn)
    alone = networks[1]
    for inputs in (X[:5].float(), X[:5]):
        torch.testing.assert_close(alone(inputs).softmax(-1), drawn[1])
    with pytest.raises(DataError, match="hand them over again"):
        loaded.evaluate()
    with pytest.warns(hf.HyperframeWarning, match=r"trainer.steps: 2 → 4"):
        assert hf.resume(moved, {"trainer.steps": 4}, module=module, data=(X, Y)).finished


@pytest.mark.slow
def test_a_training_that_is_interrupted_goes_on_bit_for_bit(tmp_path):
    whole = train(tmp_path / "whole", bag())
    torch.manual_seed(0)
    module = bag()
    train(tmp_path / "part", module, **{"trainer.stop_after": 2})
    part = hf.resume(tmp_path / "part", module=module, data=(X, Y))
    assert torch.equal(part.sample(3).predict(X), whole.sample(3).predict(X))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inputs", "refused"), [("examples", False), ("shuffled", False), ("mixtures", True), ("noise", True)]
)
def test_a_term_compares_networks_on_rows_that_the_table_has(tmp_path, inputs, refused):
    changes = {"diversity": [{"name": "output_information", "inputs": inputs}], "trainer.steps": 1}
    if not refused:
        assert train(tmp_path / "run", bag(), **changes).step == 1
        return
    message = "diversity 'output_information': target .* looks rows up by them, and an input is .* or shuffled"
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", bag(), **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_inputs_that_a_run_keeps_are_asked_for(tmp_path):
    module = bag()
    train(tmp_path / "run", module, **{"trainer.steps": 1})
    kept = tmp_path / "run" / "example.safetensors"
    assert kept.stat().st_size < 2000
    kept.write_bytes(kept.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"example\.safetensors"):
        hf.load(tmp_path / "run", module=module, device="cpu")
    kept.unlink()
    with pytest.raises(SpecError, match=r"does not run.*examples of the data cannot be tried.*hand them over again"):
        hf.load(tmp_path / "run", module=module, device="cpu")
    assert len(hf.load(tmp_path / "run", module=module, data=(X, Y), device="cpu").sample(2)) == 2
    hf.train(module=dense(TOKENS, 3), data=(torch.rand(60, TOKENS), Y), overrides=CHECKED, out=tmp_path / "other")
    assert not (tmp_path / "other" / "example.safetensors").exists()


@pytest.mark.slow
def test_an_error_of_other_code_on_examples_is_named(tmp_path):
    def module(offset):
        return Net(lambda m, x: m.out(m.t(x).mean(1) + offset), t=table(), out=dense(UNITS, 3))

    train(tmp_path / "run", module(0), **{"trainer.steps": 1})
    assert probe_outputs(traced_target(trace(bag(), example=X))) is not None
    with pytest.warns(hf.HyperframeWarning, match="the target's code is not that"):
        hf.load(tmp_path / "run", module=module(1), device="cpu")


# What is no row.


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [ROWS, -1, 1000])
def test_an_index_that_is_no_row_is_named_with_the_size_of_the_table(wrong, tmp_path):
    """Where many networks run as one batch torch would read a row of the next network."""
    words = f"row {wrong} of '0.weight', which has {ROWS} rows, 0 to {ROWS - 1}"
    module, other = bag(), X.clone()
    other[37, 2] = wrong
    with pytest.raises(DataError, match=words):
        train(tmp_path / "never", module, (other, Y))
    with pytest.raises(DataError, match=words):
        train(tmp_path / "never", module, {"x": X, "y": Y, "x_validation": other, "y_validation": Y})
    assert not (tmp_path / "never").exists()
    run = train(tmp_path / "run", module, {"x": X, "y": Y, "x_test": other, "y_test": Y}, **{"trainer.steps": 1})
    for use in (run.evaluate, lambda: run.sample(2).predict(other), lambda: run.sample(2).vote(other)):
        with pytest.raises(DataError, match=words):
            use()


def test_inputs_that_cannot_change_a_little_are_not_attacked(tmp_path, registry):
    run = train(tmp_path / "run", bag(), **{"trainer.steps": 1})
    with pytest.raises(NotApplicableError, match="changes inputs a little, but target 'module' of run run does not"):
        analyse(run, "adversarial", registry)


@pytest.mark.slow
def test_an_input_that_is_no_whole_number_is_named(tmp_path):
    run = train(tmp_path / "run", bag(), **{"trainer.steps": 1})
    networks = run.sample(2)
    with pytest.raises(DataError, match=r"takes whole numbers, but an input is 2\.5"):
        networks.predict(torch.full((1, TOKENS), 2.5))
    with pytest.raises(DataError, match=r"takes whole numbers.*uint8.*int64"):
        networks.predict(X[:3].to(torch.uint8))
    with pytest.raises(SpecError, match=r"runs on whole numbers.*uint8.*int64"):
        train(tmp_path / "never", bag(), (X.to(torch.uint8), Y))
    with pytest.raises(DataError, match="takes whole numbers"):
        train(tmp_path / "never", bag(), {"x": X, "y": Y, "x_validation": X + 0.5, "y_validation": Y})


def test_rows_are_checked_for_all_examples_in_every_way_to_look_up():
    many = torch.zeros(2 * EXAMPLES_AT_ONCE + 1, TOKENS, dtype=torch.int64)
    many[-1, 0] = ROWS
    for form in (
        lambda m, x: m.t(x).mean(1),
        lambda m, x: m.t.weight[x].mean(1),
        lambda m, x: m.t.weight[x, 1:].mean(1),
        lambda m, x: F.embedding_bag(x, m.t.weight),
        lambda m, x: m.t(torch.arange(TOKENS)) + m.t(x).mean(1)[:, None],
    ):
        module = Net(form, t=table()).eval()
        with pytest.raises(DataError, match=f"row {ROWS} of 't.weight'"):
            check_rows(module, many, "here")
        check_rows(module, many[:-1], "here")
    check_rows(Net(lambda m, x: m.t.weight[x], t=table()).eval(), many[:-1] - ROWS, "here")  # as Python counts them
    with pytest.raises(DataError, match=f"row {-1 - ROWS}"):
        check_rows(Net(lambda m, x: m.t.weight[x], t=table()).eval(), many[:-1] - ROWS - 1, "here")


# Options that are not of the function.


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"padding_idx": 0}, {"scale_grad_by_freq": True}, {"sparse": True}, {"padding_idx": 0, "sparse": True}],
    ids=str,
)
def test_a_gradient_is_that_of_the_loss(options):
    """Torch's own leaves rows out, or divides by how often they occur, or is sparse; and not for all networks alike."""

    def gradients(module, together):
        target = traced_target(trace(module, example=X)).to("cpu", torch.float64)
        weights = redraw(target.spec, 3, torch.Generator().manual_seed(0))
        unpacked = {name: value.requires_grad_() for name, value in unpack(target.spec, weights).items()}
        inputs = X[:12].view(3, 4, TOKENS)
        parts = [slice(None)] if together else [slice(row, row + 1) for row in range(3)]
        for part in parts:
            own = {name: value[part] for name, value in unpacked.items()}
            target.run(own, inputs[part], training=True).square().sum().backward()
        return unpacked["t.weight"].grad

    def module(**options):
        return Net(lambda m, x: m.out(m.t(x).mean(1)), t=table(**options), out=dense(UNITS, 3))

    wanted = gradients(module(), together=False)
    for together in (True, False):
        torch.testing.assert_close(gradients(module(**options), together), wanted)


@pytest.mark.slow
def test_options_that_do_not_count_in_training_are_named(tmp_path):
    module = chain(table(padding_idx=0, sparse=True), nn.Flatten(), dense(24, 3))
    with pytest.warns(hf.HyperframeWarning, match="padding_idx=0 of embedding '0' does not count"):
        train(tmp_path / "run", module, **{"trainer.steps": 1})
    assert hf.load(tmp_path / "run", module=module, device="cpu").sample(1)[0][0].padding_idx == 0


def test_a_single_network_has_the_options_of_the_module():
    target = traced_target(trace(chain(table(padding_idx=2, sparse=True), nn.Flatten(), dense(24, 3)), example=X))
    weights = redraw(target.spec, 1, torch.Generator().manual_seed(0), torch.float32)
    part = target.network(weights, 0)[0]
    assert (part.padding_idx, part.sparse) == (2, True)


@pytest.mark.parametrize("option", ["max_norm", "scale_grad_by_freq", "sparse", "padding_idx"])
def test_an_option_that_weights_cannot_have_is_refused(option):
    value = {"max_norm": 1.0, "padding_idx": 0}.get(option, True)
    module = Net(lambda m, x: m.out(F.embedding(x, m.t, **{option: value}).mean(1)), t=learnt(ROWS, 5), out=dense(5, 3))
    with pytest.raises(SpecError, match=f"'t' is looked up with {option}={value}, .*leave {option} out"):
        trace(module, example=X)


@pytest.mark.parametrize("module", [bag(max_norm=1.0), chain(table(max_norm=1.0), nn.Flatten(), dense(24, 3))])
def test_a_table_that_changes_in_forward_is_refused(module):
    with pytest.raises(SpecError, match=r"'0.weight' is looked up with max_norm=1\.0, which changes the weights"):
        trace(module, example=X)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("weighted", [False, True])
@given(padding=st.sampled_from([None, 0, 2, -1]), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_bags_of_many_networks_are_those_of_each(mode, weighted, padding, seed):
    if weighted and mode != "sum":
        return
    rng = torch.Generator().manual_seed(seed)
    index = torch.randint(0, 5, (3, 4, 6), generator=rng)  # 3 networks
    tables = torch.randn(3, 5, 2, generator=rng, dtype=torch.float64).requires_grad_()
    factors = torch.randn(4, 6, generator=rng, dtype=torch.float64) if weighted else None

    def run(table, index):
        return F.embedding_bag(index, table, mode=mode, padding_idx=padding, per_sample_weights=factors)

    with BatchedForms():
        together = torch.vmap(run)(tables, index)
    alone = torch.stack([run(*each) for each in zip(tables, index, strict=True)])
    torch.testing.assert_close(together, alone)
    way = torch.randn(together.shape, generator=rng, dtype=torch.float64)
    found, wanted = (torch.autograd.grad((outputs * way).sum(), tables)[0] for outputs in (together, alone))
    torch.testing.assert_close(found, wanted)


def test_bags_that_begin_at_offsets_run_one_after_the_other_without_a_word():
    module = Net(
        lambda m, x: m.out(m.t(x.flatten(), torch.arange(len(x)) * TOKENS)), t=nn.EmbeddingBag(ROWS, 5), out=dense(5, 3)
    )
    target = traced_target(trace(module, example=X))
    weights = redraw(target.spec, 3, torch.Generator().manual_seed(0), torch.float32)
    together = target.forward(weights, X[:7].float(), shared=True)
    for row in range(3):
        torch.testing.assert_close(target.network(weights, row)(X[:7]), together[row])
