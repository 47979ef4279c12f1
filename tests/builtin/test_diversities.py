"""Diversity terms: known answers, outputs that are computed in chunks, and symmetries, which add no diversity."""

import math

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.builtin.objectives.trade_off import Options, TradeOff
from hyperframe.config.choices import choose
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, DataError
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.preflight import dry_run_terms
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.targets.symmetry.orbits import CONTINUOUS, apply_action, random_action
from hyperframe.targets.weights import unpack
from hyperframe.types import Data, DiversityInputs

REGISTRY = make_registry()
ESTIMATOR = choose(REGISTRY, "entropy", {"name": "kozachenko_leonenko", "constants": True}, "entropy").make()
SHIPPED = [
    entry for entry in REGISTRY.all() if entry.kind == "diversity" and entry.source.distribution == "hyperframe-nn"
]
OF_WEIGHTS = [
    entry.component.name
    for entry in SHIPPED
    if "flat" in choose(REGISTRY, "diversity", entry.component.name, "d").make(ESTIMATOR).needs
]
OF_OUTPUTS = ["output_entropy", "ensemble_loss", "disagreement"]
OFF_THE_EXAMPLES = ["output_information", "function_repulsion"]
"""Terms that compare outputs on other inputs than the shared examples, if not told otherwise."""


def make_term(name, **options):
    return choose(REGISTRY, "diversity", {"name": name, **options}, "diversity").make(ESTIMATOR)


def value(name, rng=None, **inputs):
    options = inputs.pop("options", {})
    given_ = {"dimension": 2, "directions": 100, "rng": rng or torch.Generator().manual_seed(0)} | inputs
    return make_term(name, **options)(DiversityInputs(**given_))


def rows(networks=6, weights=20, seed=0):
    return torch.randn(networks, weights, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(values):
    return [(a, b) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]


def mean(numbers):
    numbers = list(numbers)
    return sum(map(float, numbers)) / len(numbers)


@given(networks=st.integers(2, 7), weights=st.integers(1, 9), seed=st.integers(0, 99))
def test_terms_of_weights_are_their_formulas(networks, weights, seed):
    flat = rows(networks, weights, seed)
    cosines = (torch.dot(a, b) / a.norm() / b.norm() for a, b in pairs(flat))
    assert float(value("cosine", flat=flat)) == pytest.approx(mean(cosines), rel=1e-9, abs=1e-12)
    l1 = mean((a - b).abs().mean() for a, b in pairs(flat))
    l2 = mean((a - b).square().mean().sqrt() for a, b in pairs(flat))
    for distance, expected in (("l1", l1), ("l2", l2)):
        found = value("pairwise_distance", flat=flat, options={"distance": distance})
        assert float(found) == pytest.approx(-expected, rel=1e-9)
    variance = mean((a - b).square().mean() for a, b in pairs(flat)) / 2
    assert float(value("variance", flat=flat)) == pytest.approx(-variance, rel=1e-9)


def test_kernel_repulsion_moves_particles_as_stein_variational_gradient_descent_does():
    flat = rows(5, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(value("kernel_repulsion", flat=flat), [flat])
    squares = (flat[:, None] - flat[None]).square().sum(2).detach()
    wide = squares[~torch.eye(5, dtype=torch.bool)].median() / math.log(6)
    particles = flat.detach().clone().requires_grad_()
    fixed = flat.detach()
    expected = []
    for i in range(5):  # (1/N) Σ_j ∇_{θ_j} k(θ_j, θ_i)
        kernel = (-(particles - fixed[i]).square().sum(1) / wide).exp().sum()
        expected.append(torch.autograd.grad(kernel, [particles])[0].sum(0) / 5)
    torch.testing.assert_close(-gradient, torch.stack(expected), rtol=1e-10, atol=1e-12)


def test_kernel_repulsion_with_a_bandwidth_is_its_formula():
    flat = rows(4, 3)
    kernel = sum(math.exp(-float((a - b).square().sum()) / 9) for a in flat for b in flat)
    assert float(value("kernel_repulsion", flat=flat, options={"bandwidth": 3})) == pytest.approx(kernel / 8, rel=1e-12)


@pytest.mark.parametrize("name", ["weight_entropy", "output_entropy"])
def test_terms_of_entropies_draw_subsets_anew(name):
    estimator = choose(REGISTRY, "entropy", {"name": "kozachenko_leonenko", "subset": 4}, "entropy").make()
    term = choose(REGISTRY, "diversity", name, "diversity").make(estimator)
    task = choose(REGISTRY, "task", "digits", "task").make()
    logits = torch.randn(9, 3, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    inputs = DiversityInputs(flat=rows(9), outputs=logits, task=task, dimension=2, directions=20, rng=rng)
    assert len({float(term(inputs)) for _ in range(5)}) > 1


@pytest.mark.parametrize(("dimension", "directions", "counted"), [(5, 3, 3), (3, 5, 3)])
def test_the_entropy_of_weights_counts_no_more_directions_than_are_left(dimension, directions, counted):
    found = value("weight_entropy", flat=rows(9), dimension=dimension, directions=directions)
    assert float(found) == pytest.approx(-float(ESTIMATOR(rows(9), counted)), rel=1e-12)


@given(powers=st.lists(st.integers(-8, 8), min_size=9, max_size=9), seed=st.integers(0, 99))
def test_growing_adds_to_the_entropy_of_weights_but_not_to_that_of_their_directions(powers, seed):
    flat, factors = rows(9, seed=seed), torch.tensor([2.0**power for power in powers], dtype=torch.float64)[:, None]
    unit = {"options": {"unit_norm": True}}
    assert torch.equal(value("weight_entropy", flat=flat, **unit), value("weight_entropy", flat=factors * flat, **unit))
    grown = value("weight_entropy", flat=flat) - value("weight_entropy", flat=256 * flat)
    assert float(grown) == pytest.approx(2 * math.log(256), rel=1e-9)


def test_the_entropy_of_directions_is_that_of_weights_of_norm_one_and_pulls_along_no_network():
    flat = rows(9).requires_grad_()
    found = value("weight_entropy", flat=flat, directions=2, options={"unit_norm": True})
    each = flat.detach() / flat.detach().norm(dim=1, keepdim=True)
    assert float(found.detach()) == pytest.approx(
        -float(ESTIMATOR(each, 1)), rel=1e-12
    )  # one of two directions is the norm
    (gradient,) = torch.autograd.grad(found, [flat])
    assert float(gradient.abs().max()) > 0
    assert float((gradient * flat.detach()).sum(1).abs().max()) < 1e-12 * float(gradient.abs().max())


@pytest.mark.slow
def test_probabilities_of_two_classes_are_one_number(outputs):
    task = choose(REGISTRY, "task", "digits", "task").make()
    logits = torch.randn(4000, 1, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = value("output_entropy", outputs=logits, task=task, dimension=9)
    assert float(found) == pytest.approx(-float(ESTIMATOR(logits.softmax(-1).flatten(1), 1)), rel=1e-12)


def test_a_term_gets_nothing_that_another_one_needs():
    seen = {}

    class Spy(hf.types.DiversityTerm):
        needs = frozenset({"z"})

        def __call__(self, inputs):
            seen["outputs"], seen["z"] = inputs.outputs, inputs.z
            return torch.zeros((), dtype=torch.float64)

    built = experiment()
    objective = built.loss
    objective.terms = [
        WeightedTerm(name="disagreement", term=make_term("disagreement"), weight=1.0),
        WeightedTerm(name="spy", term=Spy(), weight=1.0),
    ]
    z = built.generator.latent(3, torch.Generator().manual_seed(0))
    dry_run_terms(objective, built.generator, z, shared_examples(), torch.Generator())
    assert seen["outputs"] is None
    assert seen["z"] is z


@pytest.fixture(scope="module")
def outputs():
    task = choose(REGISTRY, "task", "digits", "task").make()
    logits = torch.randn(5, 7, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.randint(10, (7,), generator=torch.Generator().manual_seed(3))
    return {"outputs": logits, "labels": labels, "task": task}


def test_terms_of_outputs_are_their_formulas(outputs):
    probabilities = outputs["outputs"].softmax(-1)
    agreement = mean(torch.stack([(a * b).sum(-1) for a, b in pairs(probabilities)]).mean(1))
    assert float(value("disagreement", **outputs)) == pytest.approx(agreement - 1, rel=1e-12)
    nll = mean(-probabilities.mean(0)[item, label].log() for item, label in enumerate(outputs["labels"]))
    assert float(value("ensemble_loss", **outputs)) == pytest.approx(nll, rel=1e-12)
    entropy = ESTIMATOR(probabilities.flatten(1), 2)
    assert float(value("output_entropy", **outputs)) == pytest.approx(-float(entropy), rel=1e-12)
    centred = (outputs["outputs"] - outputs["outputs"].mean(-1, keepdim=True)).flatten(1)
    found = value("output_entropy", **outputs, options={"of": "canonical"})
    assert float(found) == pytest.approx(-float(ESTIMATOR(centred, 2)), rel=1e-12)


def test_a_common_shift_of_the_logits_changes_no_term_of_outputs(outputs):
    moved = outputs | {"outputs": outputs["outputs"] + 3 * torch.arange(5.0, dtype=torch.float64)[:, None, None]}
    for name in [*OF_OUTPUTS, *OFF_THE_EXAMPLES]:
        assert float(value(name, **moved)) == pytest.approx(float(value(name, **outputs)), rel=1e-9)


@pytest.mark.parametrize("name", ["disagreement", "output_information"])
def test_terms_of_probabilities_need_classes(name):
    task = hf.RegressionTask()
    task.name = "prices"
    message = f"diversity '{name}' needs probabilities of classes, which task 'prices' does not have"
    with pytest.raises(ConfigError, match=message):
        value(name, outputs=torch.zeros(2, 3, 1), task=task)


@given(networks=st.integers(2, 7), seed=st.integers(0, 99))
def test_information_is_how_much_the_answer_tells_of_the_network(networks, seed):
    """The mean over networks of the divergence KL(p_i ‖ p̄), in another form."""
    task = choose(REGISTRY, "task", "digits", "task").make()
    logits = 3 * torch.randn(networks, 4, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    each = logits.softmax(-1)
    divergence = (each * (each / each.mean(0)).log()).sum(-1).mean()
    found = value("output_information", outputs=logits, task=task)
    assert float(found) == pytest.approx(-float(divergence), rel=1e-9)
    assert -math.log(networks) <= float(found) <= 0


def test_information_has_known_answers_and_a_gradient_where_probabilities_are_zero():
    task = choose(REGISTRY, "task", "digits", "task").make()
    sure = 1000 * torch.eye(10)[:5, None].expand(5, 3, 10)  # each network sure of a class of its own
    logits = sure.clone().requires_grad_()
    found = value("output_information", outputs=logits, task=task)
    assert float(found.detach()) == pytest.approx(-math.log(5), rel=1e-6)
    assert torch.autograd.grad(found, [logits])[0].isfinite().all()
    assert float(value("output_information", outputs=sure[:1].expand(5, 3, 10), task=task)) == 0


@given(networks=st.integers(2, 7), seed=st.integers(0, 99))
def test_repulsion_of_functions_is_its_formula(networks, seed):
    task = choose(REGISTRY, "task", "digits", "task").make()
    logits = torch.randn(networks, 4, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    each = logits.softmax(-1).flatten(1)
    squares = torch.cdist(each, each).square()
    of_pairs = squares[*torch.triu_indices(networks, networks, 1)]
    width = of_pairs.median() / math.log(networks + 1)
    wanted = (-squares / width).exp().sum(1).log().mean()
    assert float(value("function_repulsion", outputs=logits, task=task)) == pytest.approx(float(wanted), rel=1e-9)
    centred = (each - each.mean(0)) / (0.3 * 2)  # σ, and the root of the number of inputs
    wanted = -torch.logdet(torch.eye(networks, dtype=torch.float64) + centred @ centred.T) / 2
    options = {"form": "determinant", "deviation": 0.3}
    found = value("function_repulsion", outputs=logits, task=task, options=options)
    assert float(found) == pytest.approx(float(wanted), rel=1e-9, abs=1e-12)


def test_the_width_of_functions_kernel_is_held():
    """Scaled predictions of a regression have the same kernel, and a gradient that drives them apart all the same."""
    task = hf.RegressionTask()
    outputs = rows(5, 3).unsqueeze(-1).requires_grad_()
    found = value("function_repulsion", outputs=outputs, task=task)
    (gradient,) = torch.autograd.grad(found, [outputs])
    wider = value("function_repulsion", outputs=4 * outputs.detach(), task=task)
    assert float(wider) == pytest.approx(float(found.detach()))
    assert float((gradient * outputs.detach()).sum()) < -0.1


def test_only_the_determinant_sees_rank():
    """Networks on a line, stretched without end, gain a logarithm; each one's own direction gains one of its own."""
    task = hf.RegressionTask()
    line, simplex = torch.arange(4.0).double()[:, None] * torch.ones(4), torch.eye(4).double()
    gained = {}
    for name, outputs in (("line", line), ("simplex", simplex)):
        options = {"form": "determinant"}
        near, far = (
            value("function_repulsion", outputs=size * outputs[..., None], task=task, options=options)
            for size in (1e3, 2e3)
        )
        gained[name] = float(near - far) / math.log(2)
    assert gained["line"] == pytest.approx(1, rel=1e-4)
    assert gained["simplex"] == pytest.approx(3, rel=1e-4)


def experiment(*overrides):
    settings = ["trainer.device=cpu", "target.channels=[2,3]", "generator.batch_norm=false", *overrides]
    built = build_experiment(load_config("digits", settings, REGISTRY))
    built.generator.double()
    built.target.to("cpu", torch.float64)
    return built


def shared_examples(count=6):
    draw = torch.Generator().manual_seed(4)
    x = torch.rand(count, 1, 8, 8, generator=draw, dtype=torch.float64)
    return Data(x, torch.randint(10, (count,), generator=draw))


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_the_gradient_through_shared_outputs_is_that_of_one_graph(chunk):
    built, shared = experiment(), shared_examples()
    terms = [
        WeightedTerm(name=name, term=make_term(name), weight=0.3 + number) for number, name in enumerate(OF_OUTPUTS)
    ]
    terms.append(WeightedTerm(name="cosine", term=make_term("cosine"), weight=2.0))
    z = built.generator.latent(5, torch.Generator().manual_seed(0))
    weights = built.generator(z)
    each = [{name: part[i] for name, part in unpack(built.target.spec, weights).items()} for i in range(5)]
    found = torch.stack([torch.func.functional_call(built.target.module, one, (shared.x,)) for one in each])
    source = built.loss
    flat = source.gauge(weights)
    inputs = DiversityInputs(
        outputs=found,
        labels=shared.y,
        task=built.task,
        flat=hf.targets.flatten(built.target.spec, flat),
        dimension=built.generator.dimension,
    )
    whole = sum(item.weight * item.term(inputs) for item in terms)
    wanted = torch.autograd.grad(whole, list(built.generator.parameters()))
    objective = BatchLoss(
        TradeOff(Options(lambda_=0.0)),
        target=built.target,
        task=built.task,
        gauge=source.gauge,
        directions=source.directions,
        terms=terms,
        chunk=chunk,
    )
    data = Data(shared.x.expand(5, *shared.x.shape), shared.y.expand(5, -1))
    metrics = objective.gradients(built.generator, z, data, torch.Generator(), accuracy_weight=0.0, shared=shared)
    assert float(metrics["loss"]) == pytest.approx(float(whole.detach()), rel=1e-10)
    for parameter, expected in zip(built.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-8, atol=1e-10)


class Halved(hf.types.DiversityTerm):
    """Compares outputs on inputs of its own: half as bright, and one more than are shared."""

    needs = frozenset({"outputs"})

    def inputs(self, shared, rng):
        return torch.cat([shared.x, shared.x[:1]]) / 2

    def __call__(self, inputs):
        return inputs.outputs.square().mean()


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_a_term_has_outputs_on_inputs_of_its_own(chunk):
    built, shared = experiment(), shared_examples()
    z = built.generator.latent(5, torch.Generator().manual_seed(0))
    weights, own = built.generator(z), torch.cat([shared.x, shared.x[:1]]) / 2
    each = [{name: part[i] for name, part in unpack(built.target.spec, weights).items()} for i in range(5)]
    on_own = torch.stack([torch.func.functional_call(built.target.module, one, (own,)) for one in each])
    on_shared = torch.stack([torch.func.functional_call(built.target.module, one, (shared.x,)) for one in each])
    found = {
        name: make_term(name)(DiversityInputs(outputs=on_shared, labels=shared.y, task=built.task))
        for name in ("disagreement", "ensemble_loss")
    }
    whole = 3 * on_own.square().mean() + sum(found.values())
    wanted = torch.autograd.grad(whole, list(built.generator.parameters()))
    objective = built.loss.evolved(built.target, chunk)
    objective.terms = [
        WeightedTerm(name="disagreement", term=make_term("disagreement"), weight=1.0),
        WeightedTerm(name="halved", term=Halved(), weight=3.0),
        WeightedTerm(name="ensemble_loss", term=make_term("ensemble_loss"), weight=1.0),
    ]
    data = Data(shared.x.expand(5, *shared.x.shape), shared.y.expand(5, -1))
    metrics = objective.gradients(built.generator, z, data, torch.Generator(), accuracy_weight=0.0, shared=shared)
    assert float(metrics["loss"]) == pytest.approx(float(whole.detach()), rel=1e-10)
    for parameter, expected in zip(built.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-8, atol=1e-10)
    # Of five networks: the batch, one pass for the two terms on shared examples, one for the other.
    assert objective.evaluations == 5 * (6 + 6 + 7)


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (lambda x: x[:, 0], "float64 [6, 8, 8]"),
        (lambda x: x.float(), "float32 [6, 1, 8, 8]"),
        (lambda x: x[:0], "float64 [0, 1, 8, 8]"),
        (lambda x: None, "NoneType"),
    ],
)
def test_inputs_of_a_term_must_be_such_as_the_task_has(inputs, found):
    class Odd(Halved):
        def inputs(self, shared, rng):
            return inputs(shared.x)

    built = experiment()
    built.loss.terms = [WeightedTerm(name="odd", term=Odd(), weight=1.0)]
    z = built.generator.latent(3, torch.Generator().manual_seed(0))
    with pytest.raises(hf.errors.ConfigError) as error:
        dry_run_terms(built.loss, built.generator, z, shared_examples(), torch.Generator())
    wanted = f"diversity 'odd': its inputs must be float64 [examples, 1, 8, 8], but are {found}"
    assert wanted in str(error.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such thing"), r"diversity 'odd': cannot make its inputs: ValueError: no such thing"),
        (ConfigError("inputs are not for words"), "diversity 'odd': inputs are not for words"),
    ],
)
def test_inputs_that_a_term_cannot_make_are_refused_with_its_name(error, message):
    class Odd(Halved):
        def inputs(self, shared, rng):
            raise error

    built = experiment()
    built.loss.terms = [WeightedTerm(name="odd", term=Odd(), weight=1.0)]
    z = built.generator.latent(3, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match=message):
        dry_run_terms(built.loss, built.generator, z, shared_examples(), torch.Generator())


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"inputs": "task"}, "diversity 'disagreement': inputs 'task' are those of another task; name it with"),
        ({"inputs": "task", "task": "diabetes"}, r"inputs of task 'diabetes' have the shape \[10\], .* \[1, 8, 8\]"),
        ({"inputs": "noise", "task": "digits"}, "task 'digits' is named, but inputs are 'noise'"),
        ({"inputs": "task", "task": "arrays"}, "'disagreement': a term takes a task with its default options"),
        ({"inputs": "task", "task": "digit"}, "unknown task 'digit'; did you mean 'digits'"),
    ],
)
def test_another_task_is_named_and_has_such_inputs(tmp_path, term, message):
    settings = {"diversity": [{"name": "disagreement", **term}], "trainer.device": "cpu"}
    with pytest.raises(hf.HyperframeError, match=message):
        hf.train("digits", settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_of_the_named_task_that_are_missing_are_told_of_the_term(monkeypatch):
    built = experiment("diversity=[{name: disagreement, inputs: task, task: digits}]")

    def missing(split):
        raise DataError("there are none")

    monkeypatch.setattr(built.loss.terms[0].term.other_task, "data", missing)
    z, message = built.generator.latent(3, torch.Generator().manual_seed(0)), "inputs of another task, with its default"
    with pytest.raises(DataError, match=f"diversity 'disagreement': {message} options: there are none"):
        dry_run_terms(built.loss, built.generator, z, shared_examples(), torch.Generator())


def test_networks_are_compared_on_training_inputs_of_the_named_task():
    built = experiment("diversity=[{name: disagreement, inputs: task, task: digits}]")
    term, own = built.loss.terms[0].term, choose(REGISTRY, "task", "digits", "task").make().data("train").x.double()
    blank = Data(torch.zeros(50, 1, 8, 8, dtype=torch.float64), torch.zeros(50))
    found = term.inputs(blank, torch.Generator().manual_seed(0))
    assert bool(((found[:, None] == own).flatten(2).all(2).any(1)).all())
    assert len(found.unique(dim=0)) > 40
    assert torch.equal(found, term.inputs(blank, torch.Generator().manual_seed(0)))


def test_images_are_not_moved_where_there_are_none_and_nothing_is_written(tmp_path):
    term = {"name": "function_repulsion", "inputs": "augmented"}
    with pytest.raises(ConfigError, match=r"diversity 'function_repulsion': inputs 'augmented' .* shape \[10\]"):
        hf.train("diabetes", {"diversity": [term], "trainer.device": "cpu"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(64, 5), torch.nn.Linear(5, 10)

    def forward(self, x):
        return self.last(torch.nn.functional.dropout(self.first(x.flatten(1)), 0.5, self.training))


def test_dropout_drops_the_same_units_in_both_passes():
    """The gradient of a sum of outputs at the last kernel is the sum of the hidden units that are left."""
    from hyperframe.experiment.outputs import SharedOutputs
    from hyperframe.experiment.targets import traced_target
    from hyperframe.runtime.chunks import Chunks
    from hyperframe.targets.tracing.tracer import trace

    target = traced_target(trace(Dropping(), (1, 8, 8), "dropping")).to("cpu", torch.float64)
    draw = torch.Generator().manual_seed(0)
    weights = {
        layer.name: torch.randn(4, layer.filters, layer.filter_size, generator=draw, dtype=torch.float64)
        for layer in target.spec.layers
    }
    unpacked = unpack(target.spec, weights)
    before = torch.get_rng_state()
    found = SharedOutputs(target, unpacked, shared_examples(8).x, Chunks(2), MemoryError, repeats=True)
    after = torch.get_rng_state()
    assert not torch.equal(before, after)
    found.values.grad = torch.zeros_like(found.values)
    found.values.grad[:, :, 0] = 1
    gradient = found.gradient()
    assert torch.equal(torch.get_rng_state(), after)
    # outputs[0] of an image is w·h + b, summed over images: the gradient at w is Σ h.
    expected = found.values.detach()[:, :, 0].sum(1) - 8 * unpacked["last.bias"][:, 0]
    again = (gradient["last.weight"][:, 0] * unpacked["last.weight"][:, 0]).sum(1)
    torch.testing.assert_close(again, expected, rtol=1e-10, atol=1e-10)


def symmetric_copies(built, count, seed=0):
    """Copies of one network under different symmetries that the configured gauges fix."""
    weights = built.generator(built.generator.latent(1, torch.Generator().manual_seed(seed)))
    copies = {layer: theta.detach().expand(count, -1, -1) for layer, theta in weights.items()}
    action = random_action(
        built.orbits, count, torch.Generator().manual_seed(seed), kinds=["scaling", "logit_shift"], exponents=None
    )
    return apply_action(built.orbits, action, copies)


@pytest.mark.parametrize("seed", range(3))
def test_copies_under_symmetries_are_one_network_after_the_gauge(seed):
    built = experiment("gauges=[scale,logit_shift]")
    moved = {layer: theta.requires_grad_() for layer, theta in symmetric_copies(built, 6, seed).items()}
    flat = hf.targets.flatten(built.target.spec, built.gauge(moved))
    raw = hf.targets.flatten(built.target.spec, moved).detach()
    assert float(torch.pdist(raw).min()) > 0.1 * float(raw.norm(dim=1).mean())
    assert float(torch.pdist(flat.detach()).max()) <= 1e-10 * float(flat.detach().norm(dim=1).max())
    entropy = ESTIMATOR(flat, built.generator.dimension)
    floor = ESTIMATOR(flat.detach()[:1].expand_as(flat), built.generator.dimension)
    spread = ESTIMATOR(rows(6, flat.shape[1]), built.generator.dimension)
    assert float(floor) <= float(entropy.detach()) < float(spread) - 10 * built.generator.dimension
    for name in OF_WEIGHTS:
        term = value(name, flat=hf.targets.flatten(built.target.spec, built.gauge(moved)), dimension=8)
        assert term.isfinite()
        if term.requires_grad:
            gradients = torch.autograd.grad(term, list(moved.values()))
            assert all(part.isfinite().all() for part in gradients)


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_symmetries_leave_every_term_of_weights_as_it_is(name):
    built = experiment("gauges=[scale,logit_shift]")
    weights = built.generator(built.generator.latent(6, torch.Generator().manual_seed(1)))
    action = random_action(
        built.orbits, 6, torch.Generator().manual_seed(2), kinds=["scaling", "logit_shift"], exponents=None
    )
    found = [
        float(value(name, flat=hf.targets.flatten(built.target.spec, built.gauge(theta)).detach(), dimension=64))
        for theta in (weights, apply_action(built.orbits, action, weights))
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert set(CONTINUOUS) >= {"scaling", "logit_shift"}


RAISED = {
    "weight_entropy": 1.0,
    "manifold_entropy": 10.0,
    "variance": 100.0,
    "pairwise_distance": 100.0,
    "cosine": 100.0,
    "sparsity": 300.0,
    "kernel_repulsion": 100.0,
    "output_entropy": 1.0,
    "disagreement": 300.0,
    "ensemble_loss": 300.0,
    "output_information": 300.0,
    "function_repulsion": 300.0,
}
"""Weights of each term with which a short training shows its effect, all else equal."""
MEASURED_AS = {"function_repulsion": {"form": "determinant"}}
"""Options for the measurement alone: the value with a width from the distances hardly tells how large these are."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return each term's value on networks of a run that was trained with it, and of a run without it."""
    settings = {
        "trainer.device": "cpu",
        "trainer.steps": 40,
        "trainer.networks": 8,
        "trainer.batch_size": 8,
        "target.channels": [2, 3],
        "generator.latent": 6,
        "generator.extractor": [32],
        "generator.weight_generators": [16],
        "generator.initialisation": "hyperfan",
        "objective.lambda": 100.0,
        "evaluation.every": 1000,
        "evaluation.networks": 2,
        "evaluation.examples": 10,
    }

    def run(name, weight):
        folder = tmp_path_factory.mktemp("run")
        return hf.train(
            "digits_hypernetwork", settings | {"diversity": [{"name": name, "weight": weight}]}, out=folder / "run"
        )

    none = run("none", 1.0)

    def measure(trained, name):
        built = trained.experiment
        objective = built.loss.evolved(built.target, 8)
        term = make_term(name, **MEASURED_AS.get(name, {}))
        objective.terms = [WeightedTerm(name=name, term=term, weight=1.0)]
        z = built.generator.latent(64, torch.Generator().manual_seed(9))
        train = built.task.data("train")[:64]
        weights = {layer: theta.detach() for layer, theta in built.generator(z).items()}
        inputs = objective.inputs(built.generator, z, weights, torch.Generator().manual_seed(0), train)
        x = term.inputs(train, torch.Generator().manual_seed(0))
        return float(term(attrs.evolve(inputs, outputs=built.target.forward(weights, x, shared=True))).detach())

    return lambda name: (measure(run(name, RAISED[name]), name), measure(none, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", RAISED)
def test_training_with_a_term_lowers_its_value(measured, name):
    with_term, without = measured(name)
    assert with_term < without


def test_every_term_that_ships_has_a_training_test():
    assert {entry.component.name for entry in SHIPPED} == {*RAISED, "none"}
