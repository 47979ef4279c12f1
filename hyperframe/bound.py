"""Whether the loss of `objective: vi` is the negative evidence lower bound, and if not, why."""

from torch import nn

from hyperframe.config import Choice
from hyperframe.experiment import Experiment
from hyperframe.formulas import Variational
from hyperframe.generator import Generator

ENTROPIES = ("weight_entropy", "manifold_entropy")
"""Diversity terms that are the negative entropy of the weights, with no gauge."""


def departures(experiment: Experiment) -> list[str] | None:
    """What keeps a variational loss from being the negative evidence lower bound; None for another objective.

    The bound is n · NLL + KL(q ‖ prior) (section 3.2.4, appendix C), with q the density of all weights. That the
    generator does not fold, so that several z give the same weights, is not looked at: `manifold_entropy` is then an
    upper bound of the entropy.
    """
    config, formula = experiment.config, experiment.config.objective
    if not isinstance(formula, Variational):
        return None
    spec, dimension = experiment.target.spec, experiment.generator.dimension
    terms = [(choice.name, choice.weight) for choice in config.diversity]
    reasons = []
    if not experiment.task.likelihood:
        reasons.append(f"the loss of task '{experiment.task.name}' is no negative log-likelihood")
    if config.gauges:
        gauges = ", ".join(choice.name for choice in config.gauges)
        reasons.append(f"gauges ({gauges}) take symmetric copies for one: set gauges=[]")
    if len(terms) != 1 or terms[0][0] not in ENTROPIES or terms[0][1] != 1:
        listed = ", ".join(f"{weight:g} · {name}" for name, weight in terms) or "nothing"
        reasons.append(f"the diversity terms are {listed}, not one of {' or '.join(ENTROPIES)} with weight 1")
    elif terms[0][0] == "manifold_entropy" and config.diversity[0].options.exact_up_to < spec.num_weights:
        reasons.append("the determinant is probed, with damping: set exact_up_to to the entries of z")
    elif terms[0][0] == "weight_entropy":
        reasons += _of_estimator(config.entropy, spec.num_weights)
    if formula.trust != 1:
        reasons.append(f"objective.trust={formula.trust:g} tempers the likelihood")
    if formula.prior == "flat":
        reasons.append("the prior is flat, and no density")
    if dimension < spec.num_weights:
        reasons.append(
            f"the generator's draws have {dimension:,} dimensions and the weights {spec.num_weights:,}: q has no "
            "density among all weights, and its entropy is the one on its own manifold"
        )
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in experiment.generator.modules()):
        reasons.append(
            "batch normalisation in the generator makes q depend on the batch: set generator.batch_norm=false"
        )
    if type(experiment.generator).penalty is not Generator.penalty:
        reasons.append(f"generator '{config.generator.name}' adds a penalty of its own to the loss")
    return reasons


def _of_estimator(entropy: Choice, num_weights: int) -> list[str]:
    """What keeps an estimator's values from being Shannon's entropy of the weights, up to its error."""
    if entropy.name != "kozachenko_leonenko":
        return [f"'{entropy.name}' does not estimate Shannon's entropy of any q: set entropy=kozachenko_leonenko"]
    reasons, options = [], entropy.options
    if not options.constants:
        reasons.append("the estimator leaves constants out: set entropy.constants=true")
    if options.distance == "l1" or options.dimension not in (None, num_weights):
        reasons.append("the estimator measures another volume: set entropy.distance=l2 and entropy.dimension=null")
    return reasons
