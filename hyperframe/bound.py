"""Whether the loss of `objective: vi` is the negative evidence lower bound, and if not, why."""

from hyperframe.experiment import Experiment
from hyperframe.formulas import Variational

ENTROPIES = ("weight_entropy", "manifold_entropy")
"""Diversity terms that are the negative entropy of the weights, with no gauge."""


def departures(experiment: Experiment) -> list[str] | None:
    """What keeps a variational loss from being the negative evidence lower bound; None for another objective.

    The bound is n · NLL + KL(q ‖ prior) (section 3.2.4, appendix C), with q the density of all weights.
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
    elif terms[0][0] == "weight_entropy" and getattr(config.entropy.options, "constants", True) is False:
        reasons.append("the estimator leaves constants out: set entropy.constants=true")
    if formula.trust != 1:
        reasons.append(f"objective.trust={formula.trust:g} tempers the likelihood")
    if formula.prior == "flat":
        reasons.append("the prior is flat, and no density")
    if dimension < spec.num_weights:
        reasons.append(
            f"the generator's draws have {dimension:,} dimensions and the weights {spec.num_weights:,}: q has no "
            "density among all weights, and its entropy is the one on its own manifold"
        )
    if dimension > spec.num_weights:
        reasons.append(
            f"the generator's draws have {dimension:,} dimensions and the weights {spec.num_weights:,}, so that what "
            "is estimated is not the entropy of the weights"
        )
    return reasons
