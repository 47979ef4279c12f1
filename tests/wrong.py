"""Wrong components, each with one mistake, and the laws that catch it."""

import attrs
import torch
import torch.nn.functional as F
from torch import nn

import hyperframe as hf
from hyperframe.builtin.entropies.kozachenko_leonenko import KozachenkoLeonenko
from hyperframe.builtin.entropies.kozachenko_leonenko import Options as NeighbourOptions
from hyperframe.config.kinds import KINDS as REGISTERED
from hyperframe.errors import ConfigError
from hyperframe.targets.symmetry.structure import FROZEN
from hyperframe.targets.tracing.tracer import trace
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.tasks.structured import DenseClassificationTask
from hyperframe.testing.examples import EXAMPLES
from hyperframe.types import NoOptions


def change_layer(spec, name, **changes):
    """Return a spec with one layer changed."""
    layers = [attrs.evolve(layer, **changes) if layer.name == name else layer for layer in spec.layers]
    return attrs.evolve(spec, layers=layers)


class Residual(nn.Module):
    """x + b(relu(a(x))), twice, without normalisation."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.out = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(5 - 1, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.out((x + self.b(self.a(x).relu())).relu())


def plain(name, module, **places):
    return hf.targets.LayerSpec(
        name=name,
        filters=places.pop("filters"),
        params=[hf.targets.kernel(f"{module}.weight", "o i"), hf.targets.bias(f"{module}.bias")],
        **places,
    )


def forgotten_tie():
    """The block's last layer writes a space of its own, not the trunk's."""
    units = [
        hf.targets.UnitSpec(name="trunk", size=5, ops=("add", "relu")),
        hf.targets.UnitSpec(name="inner", size=4, ops=("relu",)),
        hf.targets.UnitSpec(name="loose", size=5, ops=("add", "relu")),
    ]
    layers = [
        plain("stem", "stem", filters=5, writes=["trunk"]),
        plain("a", "a", filters=4, reads=["trunk"], writes=["inner"]),
        plain("b", "b", filters=5, reads=["inner"], writes=["loose"]),
        plain("out", "out", filters=3, reads=["trunk"]),
    ]
    spec = hf.targets.TargetSpec(name="net", input_shape=(3,), num_outputs=3, layers=layers, units=units, logits="out")
    return Residual(), spec


def forgotten_reader():
    """The last layer is not said to read the trunk."""
    module, spec = EXAMPLES["residual"]()
    return module, attrs.evolve(change_layer(spec, "out", reads=()), logits=None)


def gelu_as_relu():
    """A GELU that is declared as a ReLU."""
    module, spec = EXAMPLES["dense_gelu"]()
    units = [attrs.evolve(unit, ops=("relu",)) for unit in spec.units]
    return module, attrs.evolve(spec, units=units)


def tanh_before_max_pool():
    """A max-pooling behind a tanh, which the spec leaves out, so that all operations seem odd."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    layers = [
        hf.targets.LayerSpec(
            name="conv",
            filters=4,
            params=[hf.targets.kernel("0.weight", "o i h w"), hf.targets.bias("0.bias")],
            writes=["maps"],
        ),
        plain("out", "4", filters=3, reads=["maps"]),
    ]
    units = [hf.targets.UnitSpec(name="maps", size=4, ops=("tanh", "flatten"))]
    spec = hf.targets.TargetSpec(
        name="net", input_shape=(1, 4, 4), num_outputs=3, layers=layers, units=units, logits="out"
    )
    return module, spec


class Gated(nn.Module):
    """relu(a(x)) · sigmoid(gate(relu(a(x))))."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.a(x).relu()
        return self.out(x * self.gate(x).sigmoid())


def scaling_across_a_gate():
    """The spec claims that the gate's units have factors that the last layer reads."""
    units = [
        hf.targets.UnitSpec(name="features", size=4, ops=("relu",)),
        hf.targets.UnitSpec(name="gates", size=4, ops=("relu",)),
    ]
    layers = [
        plain("a", "a", filters=4, writes=["features"]),
        plain("gate", "gate", filters=4, reads=["features"], writes=["gates"]),
        plain("out", "out", filters=3, reads=["gates"]),
    ]
    spec = hf.targets.TargetSpec(name="net", input_shape=(3,), num_outputs=3, layers=layers, units=units, logits="out")
    return Gated(), spec


def claimed_twice():
    """One weight under two names of one module, which two layers claim."""
    shared = nn.Linear(3, 3)
    module = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(3, 2))
    layers = [
        plain("first", "0", filters=3, writes=["hidden"]),
        plain("second", "2", filters=3, reads=["hidden"], writes=["hidden"]),
        plain("out", "4", filters=2, reads=["hidden"]),
    ]
    units = [hf.targets.UnitSpec(name="hidden", size=3, ops=("relu",))]
    return module, hf.targets.TargetSpec(
        name="net", input_shape=(3,), num_outputs=2, layers=layers, units=units, logits="out"
    )


def logits_before_a_relu():
    """The spec names a layer as the logits that a ReLU follows."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU())
    layers = [plain("first", "0", filters=4, writes=["hidden"]), plain("out", "2", filters=3, reads=["hidden"])]
    units = [hf.targets.UnitSpec(name="hidden", size=4, ops=("relu",))]
    return module, hf.targets.TargetSpec(
        name="net", input_shape=(3,), num_outputs=3, layers=layers, units=units, logits="out"
    )


def traced_without_a_reader():
    """A traced structure from which one reading axis is lost."""
    found = trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)), (3,), "net")
    axes = [
        attrs.evolve(axis, scaling=(FROZEN,) * len(axis.scaling)) if axis.exponent == -1 else axis
        for axis in found.structure.axes
    ]
    return attrs.evolve(found, structure=attrs.evolve(found.structure, axes=tuple(axes)))


class Stateful(nn.Module):
    """Counts its calls, and adds the count."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(3, 2), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) + self.calls


def stateful():
    """A forward that is not a function."""
    return Stateful(), hf.targets.TargetSpec(
        name="net", input_shape=(3,), num_outputs=2, layers=[plain("out", "layer", filters=2)], logits="out"
    )


TARGETS = {
    "forgotten tie": (forgotten_tie, {"scaling", "permutation"}),
    "forgotten reader": (forgotten_reader, {"scaling", "permutation"}),
    "GELU declared as ReLU": (gelu_as_relu, {"scaling"}),
    "tanh before max-pool declared odd": (tanh_before_max_pool, {"sign"}),
    "scaling across a gate": (scaling_across_a_gate, {"scaling"}),
    "a shared weight claimed twice": (claimed_twice, {"can_be_built"}),
    "logits before a ReLU": (logits_before_a_relu, {"logit_shift"}),
    "traced, and a reader lost": (traced_without_a_reader, {"scaling"}),
    "a forward that keeps state": (stateful, {"batch_equals_modules"}),
}


class SumOfBiases(hf.types.Gauge):
    """The authors' program subtracts the sum of the biases in place of their mean."""

    fixes = frozenset({"logit_shift"})
    directions = 1

    def __init__(self, orbits):
        self.shift = orbits.logit_shift

    def __call__(self, weights):
        if self.shift is None or self.shift.bias is None:
            return weights
        theta = weights[self.shift.layer].clone()
        theta[:, :, self.shift.bias] -= theta[:, :, self.shift.bias].sum(1, keepdim=True)
        return weights | {self.shift.layer: theta}


def scale_by(factor, fixes=("scaling",)):
    """Return a gauge class that scales units by a factor of their first carrier."""

    class Scaled(hf.types.Gauge):
        def __init__(self, orbits):
            self.fixes = frozenset(fixes)
            self.orbits = orbits

        def __call__(self, weights):
            return hf.targets.propagate_factors(
                self.orbits.scaling, weights, lambda carried, segments, labels: factor(carried)
            )

    return Scaled


def norms(carried, epsilon=0.0):
    return carried.square().sum(2).add(epsilon).sqrt()


class Idle(hf.types.Gauge):
    """A gauge that does nothing."""

    fixes = frozenset({"scaling"})

    def __init__(self, orbits):
        pass

    def __call__(self, weights):
        return weights


class OnlyWriters(Idle):
    """A gauge that forgets the readers."""

    def __call__(self, weights):
        return {layer: theta / theta.norm(dim=2, keepdim=True).clamp(min=1e-30) for layer, theta in weights.items()}


class InPlace(Idle):
    """A gauge that changes what it is given."""

    fixes = frozenset({"logit_shift"})

    def __init__(self, orbits):
        self.shift = orbits.logit_shift

    def __call__(self, weights):
        if self.shift is not None:
            with torch.no_grad():
                weights[self.shift.layer].sub_(weights[self.shift.layer].mean(1, keepdim=True))
        return weights


class OnlyDouble(Idle):
    """A gauge that does nothing in single precision."""

    fixes = frozenset({"logit_shift"})

    def __init__(self, orbits):
        self.shift = orbits.logit_shift

    def __call__(self, weights):
        if self.shift is None or weights[self.shift.layer].dtype == torch.float32:
            return weights
        last = weights[self.shift.layer]
        return weights | {self.shift.layer: last - last.mean(1, keepdim=True)}


class MoreThanItSays(OnlyDouble):
    """A gauge that fixes all directions and declares none."""

    directions = 0

    def __call__(self, weights):
        if self.shift is None:
            return weights
        last = weights[self.shift.layer]
        return weights | {self.shift.layer: last - last.mean(1, keepdim=True)}


class ExtraLayer(OnlyDouble):
    """A gauge that returns a layer that does not exist."""

    def __call__(self, weights):
        return {**super().__call__(weights), "more": torch.zeros(len(next(iter(weights.values()))), 1, 1)}


GAUGES = {
    "nothing in single precision": (OnlyDouble, {"networks_are_apart"}),
    "more directions than it says": (MoreThanItSays, {"same_on_the_orbit"}),
    "a layer more": (ExtraLayer, {"networks_are_apart"}),
    "own factors for filters that share one": (
        scale_by(lambda carried: 1 / norms(carried).clamp(min=1e-30)),
        {"function_is_kept"},
    ),
    "sum of biases": (SumOfBiases, {"same_on_the_orbit", "twice_is_once"}),
    "not idempotent": (scale_by(lambda carried: norms(carried) ** -0.5), {"twice_is_once", "same_on_the_orbit"}),
    "an epsilon": (scale_by(lambda carried: 1 / norms(carried, 1e-6)), {"same_on_the_orbit"}),
    "no fix at zero": (scale_by(lambda carried: 1 / norms(carried)), {"is_differentiable"}),
    "secretly scaling": (scale_by(lambda carried: 1 / norms(carried), ("sign",)), {"nothing_else_is_fixed"}),
    "the identity": (Idle, {"is_not_the_identity", "same_on_the_orbit"}),
    "forgotten readers": (OnlyWriters, {"function_is_kept"}),
    "in place": (InPlace, {"networks_are_apart"}),
    "an unknown kind": (scale_by(lambda carried: 1 / norms(carried), ("scale",)), {"fixes_is_declared"}),
}


class Estimator(hf.types.EntropyEstimator):
    minimum_samples = 2

    def scale_degree(self, count, entries, dimension):
        return dimension


class Pairs(Estimator):
    """An estimate from the distances of all pairs, with a given function of a distance."""

    def __init__(self, log, factor=1.0):
        self.log, self.factor = log, factor

    def __call__(self, samples, dimension, rng=None):
        floor = torch.finfo(samples.dtype).eps * samples.detach().abs().amax().clamp(min=1e-30)
        return self.factor * dimension * self.log(F.pdist(samples).clamp(min=floor)).mean()


def from_the_origin(samples, dimension):
    return dimension * samples.norm(dim=1).clamp(min=1e-30).log().mean()


def first_pair(samples, dimension):
    return dimension * (samples[0] - samples[1:]).norm(dim=1).clamp(min=1e-30).log()[0]


def bare_log(samples, dimension):
    distances = torch.cdist(samples, samples) + torch.diag(torch.full((len(samples),), torch.inf, dtype=samples.dtype))
    return dimension * distances.amin(1).log().mean()


class Function(Estimator):
    def __init__(self, function):
        self.function = function

    def __call__(self, samples, dimension, rng=None):
        return self.function(samples, dimension)


class OtherDegree(Pairs):
    """It declares the number of entries as its degree, instead of the dimension."""

    def scale_degree(self, count, entries, dimension):
        return entries


class Unseeded(Pairs):
    """It chooses samples by torch's global random numbers, if it is given no rng (`own`), or if it is given one."""

    def __init__(self, own):
        super().__init__(torch.log)
        self.own = own

    def __call__(self, samples, dimension, rng=None):
        rng = None if self.own == (rng is None) else torch.Generator().manual_seed(0)
        return super().__call__(samples[torch.randperm(len(samples), generator=rng)[:5]], dimension)


def closest_to_the_largest(samples, dimension):
    distances = F.pdist(samples).clamp(min=1e-30)
    return dimension * (3 * distances.amax().log() - 2 * distances.log().mean())


class Neighbours(hf.types.EntropyEstimator):
    """Right, and says so: nearest neighbours with their constants, or a function of that estimate."""

    minimum_samples = 2

    def __init__(self, change=lambda estimate: estimate, factor=1, departures=()):
        self.inner = KozachenkoLeonenko(NeighbourOptions(constants=True))
        self.change, self.factor, self.reasons = change, factor, departures

    def __call__(self, samples, dimension, rng=None):
        return self.change(self.inner(samples, dimension))

    def scale_degree(self, count, entries, dimension):
        return self.factor * dimension

    def departures(self, entries, dimension):
        return self.reasons if isinstance(self.reasons, str) else [*self.reasons]


ESTIMATORS = {
    "a constant left out": (Neighbours(lambda estimate: estimate - 0.5772), {"known_entropies"}),
    "twice the entropy": (Neighbours(lambda estimate: 2 * estimate, factor=2), {"known_entropies"}),
    "a text for a list of departures": (Neighbours(departures="a constant is left out"), {"known_entropies"}),
    "rewards small distances": (Function(closest_to_the_largest), {"coincident_samples"}),
    "an epsilon in the logarithm": (Pairs(lambda distances: (distances + 1e-2).log()), {"scale_law"}),
    "twice the dimension": (Pairs(torch.log, 2.0), {"scale_law"}),
    "distances, not their logarithm": (Pairs(lambda distances: distances), {"scale_law"}),
    "from the origin": (Function(from_the_origin), {"shift_law", "coincident_samples"}),
    "the first pair only": (Function(first_pair), {"order_law"}),
    "a logarithm of zero": (Function(bare_log), {"coincident_samples"}),
    "detached": (Function(lambda samples, d: Pairs(torch.log)(samples.detach(), d)), {"is_differentiable"}),
    "another degree": (OtherDegree(torch.log), {"scale_law"}),
    "torch's own random numbers": (Unseeded(own=False), {"repeats"}),
    "no seed where there is no rng": (Unseeded(own=True), {"repeats"}),
}


class Term(hf.types.DiversityTerm):
    def __init__(self, needs, value):
        self.needs, self.value = frozenset(needs), value

    def __call__(self, inputs):
        return self.value(inputs)


class OutputTerm(hf.types.DiversityTerm):
    """Compares outputs on inputs that a function makes of the shared ones."""

    needs = frozenset({"outputs", "task"})

    def __init__(self, inputs):
        self.made = inputs

    def inputs(self, shared, rng):
        return self.made(shared.x, rng)

    def __call__(self, inputs):
        return spread_of(inputs.task.predictions(inputs.outputs).flatten(1))


def raw_rows(inputs):
    return torch.cat([theta.flatten(1) for theta in inputs.weights.values()], 1)


def spread_of(rows):
    """Return minus the mean logarithm of the distances between rows."""
    rows_, columns = torch.triu_indices(len(rows), len(rows), 1)
    return -(rows[rows_] - rows[columns]).square().sum(1).add(1e-12).log().mean()


DIVERSITIES = {
    "rewards symmetric copies": (Term({"weights"}, lambda i: spread_of(raw_rows(i))), {"copies_are_no_diversity"}),
    "the wrong sign": (Term({"flat"}, lambda i: -spread_of(i.flat)), {"copies_are_no_diversity"}),
    "neighbours in the batch": (Term({"flat"}, lambda i: -(i.flat[:-1] - i.flat[1:]).norm()), {"networks_are_a_set"}),
    "torch's own random numbers": (
        Term({"flat"}, lambda i: -(torch.rand(()) + 1) * i.flat.std()),
        {"gives_a_number"},
    ),
    "not in needs": (Term({"z"}, lambda i: -i.flat.std()), {"gives_a_number"}),
    "an unknown need": (Term({"gauged"}, lambda i: -i.flat.std()), {"gives_a_number"}),
    "a root of zero": (
        Term({"flat"}, lambda i: -(i.flat[1:] - i.flat[:1]).square().sum(1).sqrt().prod()),
        {"gradients_are_finite"},
    ),
    "detached": (Term({"flat"}, lambda i: spread_of(i.flat.detach())), {"gradients_are_finite"}),
    "inputs of torch's own random numbers": (OutputTerm(lambda x, rng: torch.randn_like(x)), {"inputs_repeat"}),
    "inputs of single precision": (OutputTerm(lambda x, rng: torch.randn(x.shape, generator=rng)), {"inputs_fit"}),
    "inputs in another shape": (OutputTerm(lambda x, rng: x.flatten()[:, None]), {"inputs_fit"}),
    "the deviation of one example": (OutputTerm(lambda x, rng: x + x.std(0)), {"inputs_fit"}),
    "inputs in place": (OutputTerm(lambda x, rng: x.mul_(2)), {"inputs_leave_examples"}),
    "a vector": (Term({"flat"}, lambda i: -i.flat.std(1)), {"gives_a_number"}),
}


class Weights(hf.Generator):
    """Normal weights with a mean to be trained."""

    def __init__(self, spec):
        super().__init__(spec, dimension=spec.num_weights)
        self.mean = nn.Parameter(torch.randn(spec.num_weights))

    def latent(self, count, rng):
        return torch.randn(count, self.spec.num_weights, generator=rng)

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + z)


class Narrow(Weights):
    """Draws from a plane, and says that it draws from all weights."""

    def __init__(self, spec):
        super().__init__(spec)
        self.two = nn.Parameter(torch.randn(2, spec.num_weights))

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + (z @ self.two.T).tanh() @ self.two)


class IgnoresZ(Weights):
    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean.expand(len(z), -1))


class OneZ(Weights):
    def latent(self, count, rng):
        return torch.zeros(count, self.spec.num_weights)


class OwnNumbers(Weights):
    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + torch.randn(z.shape))


class GlobalLatent(Weights):
    def latent(self, count, rng):
        return torch.randn(count, self.spec.num_weights)


class UnknownDistribution(Weights):
    latent_distribution = "gaussian"


class ForgetsLatent(hf.Generator):
    def __init__(self, spec):
        super().__init__(spec, dimension=1)

    def forward(self, z):
        return Weights.forward(self, z)


class SaysUniform(Weights):
    latent_distribution = "uniform"


class EntropyWithoutItsConstant(Weights):
    latent_distribution = "normal"

    def latent_entropy(self):
        return self.spec.num_weights / 2


class OffCentre(Weights):
    latent_distribution = "normal"

    def latent(self, count, rng):
        return super().latent(count, rng) + 0.2


class NumberedVector(hf.Generator):
    """Holds its networks, and says that their numbers are vectors."""

    latent_distribution = "normal"

    def __init__(self, spec):
        super().__init__(spec, dimension=spec.num_weights, networks=3)
        self.rows = nn.Parameter(torch.randn(3, spec.num_weights))

    def latent(self, count, rng):
        if count > 3:
            raise hf.errors.ConfigError("three")
        return torch.randperm(3, generator=rng)[:count]

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.rows[z])

    def code(self, z):
        return F.one_hot(z, 3).float()


class BatchMoments(Weights):
    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + z - z.mean(0))


class Unregistered(Weights):
    def __init__(self, spec):
        super().__init__(spec)
        self.offset = torch.randn(spec.num_weights)

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + self.offset + z)


class Unused(Weights):
    def __init__(self, spec):
        super().__init__(spec)
        self.unused = nn.Parameter(torch.zeros(3))


class AGroupShort(Unused):
    def parameter_groups(self):
        return [(1.0, [self.mean])]


class InTwoGroups(Weights):
    def parameter_groups(self):
        return [(1.0, [self.mean]), (0.1, [self.mean])]


class AtRest(Weights):
    def parameter_groups(self):
        return [(0.0, [self.mean])]


class OneCode(Weights):
    def code(self, z):
        return torch.ones(len(z), 1)


class CodesOfTheBatch(Weights):
    def code(self, z):
        return z / len(z)


class CodesOfTraining(Weights):
    def code(self, z):
        return z if self.training else -z


class WholeNumbers(Weights):
    def code(self, z):
        return torch.arange(len(z))[:, None]


class ALayerShort(Weights):
    def forward(self, z):
        weights = super().forward(z)
        weights.popitem()
        return weights


class NeedsTwo(Weights):
    def forward(self, z):
        if self.training and len(z) < 2:
            raise ValueError("expected more than one")
        return super().forward(z)


class CountsSteps(Weights):
    def __init__(self, spec):
        super().__init__(spec)
        self.steps = 0

    def after_step(self, step, steps):
        self.steps += 1

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + z + 0.1 * self.steps)


class TensorsInAList(Weights):
    def __init__(self, spec):
        super().__init__(spec)
        self.parts = [torch.ones(spec.num_weights)]

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + self.parts[0] + z)


class Double(Weights):
    def forward(self, z):
        return {layer: theta.double() for layer, theta in super().forward(z).items()}


class DoesNotStop(Weights):
    def make_optimizer(self, groups, options):
        return torch.optim.SGD(groups, lr=options.rate, fused=False)


class Warmed(torch.optim.SGD):
    """The rate depends on a number of steps that is not kept."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 1e-3 * self.steps
        super().step(closure)


class CountsBesideTheState(Weights):
    def make_optimizer(self, groups, options):
        return Warmed(groups, lr=options.rate, fused=True)


class KeepsNumbers(Weights):
    def make_optimizer(self, groups, options):
        made = super().make_optimizer(groups, options)
        for group in groups:
            for parameter in group["params"]:
                made.state[parameter]["steps"] = 0
        made.step = lambda: None
        return made


class HoldsPlaces(hf.Generator):
    """Says that it holds as many networks as it has places for, before they are collected."""

    def __init__(self, spec, networks=5):
        super().__init__(spec, dimension=spec.num_weights, networks=networks, networks_per_step=2)
        self.points = nn.Parameter(torch.randn(2, spec.num_weights))
        self.register_buffer("kept", torch.randn(5, spec.num_weights))
        self.kept[3:] = 0

    def latent(self, count, rng):
        if count > self.networks:
            raise ConfigError("too many")
        return torch.arange(count)

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.points[z] if self.training else self.kept[z])


class RepeatsNumbers(HoldsPlaces):
    def __init__(self, spec):
        super().__init__(spec, networks=3)

    def latent(self, count, rng):
        return super().latent(count, rng).clamp(max=1)


GENERATORS = {
    "an optimiser that does not stop": (DoesNotStop, {"optimiser_stops_and_goes_on"}),
    "an optimiser that counts beside its state": (CountsBesideTheState, {"optimiser_stops_and_goes_on"}),
    "an optimiser's state that is no tensor": (KeepsNumbers, {"optimiser_stops_and_goes_on"}),
    "places for networks that are not there": (HoldsPlaces, {"holds_its_networks"}),
    "the same network twice": (RepeatsNumbers, {"holds_its_networks"}),
    "needs two and says one": (NeedsTwo, {"weights_have_shapes"}),
    "state beside the state_dict": (CountsSteps, {"state_is_complete"}),
    "tensors in a list": (TensorsInAList, {"describes_itself"}),
    "double precision": (Double, {"weights_have_shapes"}),
    "fewer directions than it says": (Narrow, {"dimension_is_the_rank"}),
    "weights that ignore z": (IgnoresZ, {"weights_follow_z"}),
    "one z for all": (OneZ, {"weights_follow_z"}),
    "random numbers of its own": (OwnNumbers, {"draws_repeat"}),
    "a latent without its rng": (GlobalLatent, {"draws_repeat"}),
    "an unknown distribution": (UnknownDistribution, {"latent_is_distributed"}),
    "no latent": (ForgetsLatent, {"weights_have_shapes"}),
    "another distribution than it says": (SaysUniform, {"latent_is_distributed"}),
    "an entropy without its constant": (EntropyWithoutItsConstant, {"latent_is_distributed"}),
    "a latent off its centre": (OffCentre, {"latent_is_distributed"}),
    "numbers of networks as vectors": (NumberedVector, {"latent_is_distributed"}),
    "moments of the batch in evaluation": (BatchMoments, {"draws_repeat"}),
    "a tensor that is no buffer": (Unregistered, {"state_is_complete", "describes_itself"}),
    "a parameter without use": (Unused, {"can_be_trained"}),
    "a parameter in no group": (AGroupShort, {"groups_are_all_parameters"}),
    "a parameter in two groups": (InTwoGroups, {"groups_are_all_parameters"}),
    "a rate of zero": (AtRest, {"groups_are_all_parameters"}),
    "one code for all": (OneCode, {"codes_tell_networks_apart"}),
    "codes of the batch": (CodesOfTheBatch, {"codes_tell_networks_apart"}),
    "other codes in evaluation": (CodesOfTraining, {"codes_tell_networks_apart"}),
    "whole numbers as codes": (WholeNumbers, {"codes_tell_networks_apart"}),
    "a layer short": (ALayerShort, {"weights_have_shapes"}),
    "no generator": (lambda spec: nn.Linear(2, 2), {"weights_have_shapes"}),
}


class Pictures(hf.ClassificationTask):
    """Ten random pictures with noise."""

    name = "pictures"
    input_shape = (3,)
    num_outputs = 4

    def data(self, split):
        rng = torch.Generator().manual_seed({"train": 1, "validation": 2, "test": 3}[split])
        return hf.Data(torch.randn(40, 3, generator=rng), torch.randint(4, (40,), generator=rng))


class AnotherEveryTime(Pictures):
    def data(self, split):
        return hf.Data(torch.randn(40, 3), torch.randint(4, (40,)))


class TestsOnTraining(Pictures):
    def data(self, split):
        return super().data("train")


class AnotherShape(Pictures):
    input_shape = (5,)


class LabelsOutside(Pictures):
    def data(self, split):
        data = super().data(split)
        return hf.Data(data.x, data.y + 1)


class SeesShifts(Pictures):
    shift_invariant = False


class MeanInside(Pictures):
    def loss(self, outputs, labels):
        return super().loss(outputs, labels).mean()


class Uphill(Pictures):
    def loss(self, outputs, labels):
        return super().loss(outputs, labels).detach() + 0 * outputs.sum(-1)


class NoRepresentative(Pictures):
    def canonical_outputs(self, outputs):
        return outputs


class GlobalAugment(Pictures):
    def augment(self, inputs, rng):
        return inputs + torch.randn(inputs.shape)


class ChunkyMeter:
    """A mean of the chunks' means."""

    def __init__(self):
        self.found = []

    def update(self, outputs, labels, first_network, first_example):
        self.found.append(float((outputs.argmax(-1) == labels).double().mean()))

    def result(self):
        mean = sum(self.found) / len(self.found)
        return {"accuracy": {"mean": mean, "std": 0.0, "min": mean, "max": mean}, "ensemble": {}}


class MeanOfMeans(Pictures):
    metrics = Pictures.metrics[:1]

    def meter(self, networks, examples, device):
        return ChunkyMeter()


class Coupled(Pictures):
    def loss(self, outputs, labels):
        loss = super().loss(outputs, labels)
        return loss + 0.1 * loss.mean()


class ValidatesOnTests(Pictures):
    def data(self, split):
        return super().data("test" if split == "validation" else split)


def declaring(*metrics):
    """A task whose metrics these are."""
    return type("Declaring", (Pictures,), {"metrics": metrics})


def otherwise(name, **changes):
    """A task that declares one of its metrics of single networks otherwise."""
    found = Pictures.metrics
    own = [attrs.evolve(one, **changes) if (one.of, one.name) == ("network", name) else one for one in found]
    return declaring(*own)


class InPercent(hf.Meter):
    """A meter whose shares are percent already."""

    def __init__(self, meter):
        self.meter = meter

    def update(self, outputs, labels, first_network, first_example):
        self.meter.update(outputs, labels, first_network, first_example)

    def result(self):
        found = self.meter.result()
        return {**found, "accuracy": {key: 100 * value for key, value in found["accuracy"].items()}}


class SharesInPercent(Pictures):
    def meter(self, networks, examples, device):
        return InPercent(super().meter(networks, examples, device))


class NoMetricOfScore(Pictures):
    score_metric = "accuracy"


class AlwaysHalf(ChunkyMeter):
    def result(self):
        return {"accuracy": dict.fromkeys(("mean", "std", "min", "max"), 0.5), "ensemble": {}}


class ConstantMeter(Pictures):
    metrics = Pictures.metrics[:1]

    def meter(self, networks, examples, device):
        return AlwaysHalf()


class InDoublePrecision(Pictures):
    def data(self, split):
        data = super().data(split)
        return hf.Data(data.x.double(), data.y)


class PairsOfTensors(Pictures):
    def data(self, split):
        data = super().data(split)
        return data.x, data.y


class WeightsOfFew(Pictures):
    example_weights = torch.ones(3)


class WeightsBelowZero(Pictures):
    example_weights = torch.linspace(-1, 1, 40)


class OneTextOfClasses(Pictures):
    classes = "cat"


class AClassShort(Pictures):
    classes = ("cat", "dog")


class NumberForMoments(Pictures):
    standardised_inputs = 3


class MomentsOfAnotherShape(Pictures):
    standardised_inputs = Standardisation(torch.zeros(7), torch.ones(7))


class TensorAmongFacts(Pictures):
    def __init__(self):
        self.facts = {"mean": torch.zeros(3)}


class Steps(DenseClassificationTask):
    """Padded sequences."""

    name = "steps"
    input_shape = (1, 4)
    num_outputs = 3
    output_places = (4,)

    def data(self, split):
        rng = torch.Generator().manual_seed({"train": 1, "validation": 2, "test": 3}[split])
        return hf.Data(torch.randn(40, 1, 4, generator=rng), torch.randint(-1, 3, (40, 4), generator=rng))


class FlippedInputs(Steps):
    def augment(self, inputs, rng):
        flipped = torch.rand(inputs.shape[:-2], generator=rng)[..., None, None] < 0.5
        return torch.where(flipped, inputs.flip(-1), inputs)


class ForgottenLabels(Steps):
    def augment_data(self, data, rng):
        flipped = torch.rand(len(data), generator=rng)[:, None, None] < 0.5
        return hf.Data(torch.where(flipped, data.x.flip(-1), data.x), data.y)


class CentredOverPlaces(Steps):
    def canonical_outputs(self, outputs):
        return outputs - outputs.mean(-1, keepdim=True)


TASKS = {
    "centred over places": (CentredOverPlaces, {"symmetry_is_as_declared"}),
    "flips inputs and not their labels": (FlippedInputs, {"labels_move_with_inputs"}),
    "flips in augment_data, and forgets the labels": (ForgottenLabels, {"labels_move_with_inputs"}),
    "a loss that couples examples": (Coupled, {"loss_is_of_each_example"}),
    "validates on tests": (ValidatesOnTests, {"splits_are_data"}),
    "better the other way round": (otherwise("accuracy", better="lower"), {"meter_sees_no_chunks"}),
    "one text of classes": (OneTextOfClasses, {"declares_itself"}),
    "one name of a class too few": (AClassShort, {"declares_itself"}),
    "a number for moments of inputs": (NumberForMoments, {"declares_itself"}),
    "moments of another shape": (MomentsOfAnotherShape, {"declares_itself"}),
    "a tensor among the facts": (TensorAmongFacts, {"declares_itself"}),
    "no metric selects": (otherwise("accuracy", selects=False), {"declares_itself"}),
    "two metrics select": (otherwise("nll", selects=True), {"declares_itself"}),
    "a figure that no metric declares": (declaring(*Pictures.metrics[:-1]), {"metrics_are_as_declared"}),
    "a metric that the meter does not find": (
        declaring(*Pictures.metrics, hf.Metric(name="f1", better="greater")),
        {"metrics_are_as_declared"},
    ),
    "a metric of the ensemble for one of networks": (
        declaring(*Pictures.metrics, hf.Metric(name="majority")),
        {"metrics_are_as_declared"},
    ),
    "one metric twice": (
        declaring(*Pictures.metrics, hf.Metric(name="accuracy", label="hits")),
        {"declares_itself"},
    ),
    "percent of percent": (SharesInPercent, {"metrics_are_as_declared"}),
    "a name for the metric of the score": (NoMetricOfScore, {"declares_itself"}),
    "a meter that always says half": (ConstantMeter, {"meter_sees_no_chunks"}),
    "other data every time": (AnotherEveryTime, {"splits_are_data"}),
    "tests on training data": (TestsOnTraining, {"splits_are_data"}),
    "another shape": (AnotherShape, {"splits_are_data"}),
    "inputs in double precision": (InDoublePrecision, {"splits_are_data"}),
    "a pair for Data": (PairsOfTensors, {"splits_are_data"}),
    "weights of a few examples": (WeightsOfFew, {"splits_are_data"}),
    "weights below zero": (WeightsBelowZero, {"splits_are_data"}),
    "labels outside of the classes": (LabelsOutside, {"splits_are_data"}),
    "softmax declared to see shifts": (SeesShifts, {"symmetry_is_as_declared"}),
    "a mean inside the loss": (MeanInside, {"loss_is_of_each_example"}),
    "a loss without gradient": (Uphill, {"loss_is_of_each_example"}),
    "canonical outputs that are none": (NoRepresentative, {"symmetry_is_as_declared"}),
    "augmented by global numbers": (GlobalAugment, {"answers_have_shapes"}),
    "a mean of means": (MeanOfMeans, {"meter_sees_no_chunks"}),
    "no task": (nn.Identity, {"can_be_built"}),
}


class Uncounted(hf.types.Objective):
    """Divides by the step, which begins at 0."""

    def accuracy_weight(self, step, steps, examples):
        return 1.0 / step if step else float("inf")


class Counting(hf.types.Objective):
    """Counts the calls in the place of the steps."""

    calls = 0

    def accuracy_weight(self, step, steps, examples):
        self.calls += 1
        return float(self.calls)


class Constantly(hf.types.Objective):
    """Right so far."""

    def accuracy_weight(self, step, steps, examples):
        return 1000.0


class SumOverNetworks(Constantly):
    """A sum over networks."""

    def cost(self, weights):
        return torch.stack([theta.square().sum() for theta in weights.values()]).sum()


class DetachedCost(Constantly):
    """Weights without their graph."""

    def cost(self, weights):
        return torch.stack([theta.detach().square().mean() for theta in weights.values()]).mean()


class SingleCost(Constantly):
    """Single precision, whatever the weights have."""

    def cost(self, weights):
        return torch.stack([theta.float().square().mean() for theta in weights.values()]).mean()


class TemperedInSecret(hf.types.Objective):
    """Means to be the bound, with a temperature that it does not tell."""

    def accuracy_weight(self, step, steps, examples):
        return 0.1 * examples

    def departures(self):
        return []


def fixed_weights(code, ids, examples):
    """Right ones: 0 or 2, by the sign of what a fixed normal row of the example says of the code; with their u."""
    rows = torch.randn(examples, code.shape[1], generator=torch.Generator().manual_seed(0)).to(code)
    u = (rows[ids] * code[:, None]).sum(-1)
    return 2 * (u > 0).to(code), u


class HalfOfTheData(Constantly):
    """Half of the examples count, and these no more than others would."""

    def example_weights(self, code, ids, examples, seed):
        return fixed_weights(code, ids, examples)[0] / 2


class SignedWeights(Constantly):
    """Some examples count below zero; the mean is right."""

    def example_weights(self, code, ids, examples, seed):
        return 1 + fixed_weights(code, ids, examples)[1]


class WeightsOfExamples(Constantly):
    """One number an example, the same for all networks, without their axis."""

    def example_weights(self, code, ids, examples, seed):
        return torch.ones(ids.shape[1], dtype=code.dtype)


class NewDataEveryStep(Constantly):
    """Draws the bootstrap anew in every call."""

    def example_weights(self, code, ids, examples, seed):
        return 2 * torch.randint(2, ids.shape).to(code)


class DataOfPlaces(Constantly):
    """The bootstrap belongs to a network's place in the batch."""

    def example_weights(self, code, ids, examples, seed):
        return fixed_weights(torch.eye(len(code), dtype=code.dtype), ids, examples)[0]


class WeighedInSecret(hf.types.Objective):
    """Means to be the bound, with a bootstrap that it does not tell."""

    def accuracy_weight(self, step, steps, examples):
        return float(examples)

    def example_weights(self, code, ids, examples, seed):
        return fixed_weights(code, ids, examples)[0]

    def departures(self):
        return []


OBJECTIVES = {
    "a division by the step": (Uncounted, {"accuracy_counts"}),
    "calls that count": (Counting, {"accuracy_counts"}),
    "no accuracy_weight": (hf.types.Objective, {"can_be_built"}),
    "a sum over networks": (SumOverNetworks, {"cost_is_a_mean"}),
    "detached weights": (DetachedCost, {"cost_is_differentiable"}),
    "single precision": (SingleCost, {"cost_has_the_weights_precision"}),
    "half of the data": (HalfOfTheData, {"examples_count_one"}),
    "examples below zero": (SignedWeights, {"example_weights_are_numbers"}),
    "one weight an example": (WeightsOfExamples, {"example_weights_are_numbers"}),
    "new data in every step": (NewDataEveryStep, {"networks_keep_their_data"}),
    "data of places": (DataOfPlaces, {"networks_keep_their_data"}),
    "a bootstrap in secret": (WeighedInSecret, {"departures_are_told"}),
    "a temperature in secret": (TemperedInSecret, {"departures_are_told"}),
    "no objective": (nn.Identity, {"can_be_built"}),
}

KINDS = {
    "target": (TARGETS, lambda make: lambda options: make()),
    "gauge": (GAUGES, lambda make: lambda options, orbits: make(orbits)),
    "entropy": (ESTIMATORS, lambda made: lambda options: made),
    "diversity": (DIVERSITIES, lambda made: lambda options, estimator: made),
    "generator": (GENERATORS, lambda make: lambda options, spec, task: make(spec)),
    "task": (TASKS, lambda make: lambda options: make()),
    "objective": (OBJECTIVES, lambda make: lambda options: make()),
}


def plugin(kind, name):
    """A plugin that registers one wrong component as `wrong`."""
    table, factory_of = KINDS[kind]
    return registering(kind, hf.Component(name="wrong", factory=factory_of(table[name][0]), options=NoOptions))


def registering(kind, component):
    """A plugin that registers one component."""
    hook = REGISTERED[kind].hook

    def implementation():
        return [component]

    implementation.__name__ = hook
    holder = type("Wrong", (), {})()
    setattr(holder, hook, hf.hookimpl(implementation))
    return holder
