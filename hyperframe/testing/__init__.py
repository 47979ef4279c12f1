"""The conformance kit: laws that every component of a kind must keep, tested on randomly drawn examples.

`checks` lists the laws of a component, `conformance` turns them into tests, and `hyperframe check NAME` and
`pytest --hyperframe-target NAME` run the same list. `hyperframe.testing.strategies` has hypothesis strategies for tests
of your own, `hyperframe.testing.examples` the example networks.

- `kit`: finds a component's checks by its name, and makes tests of them
- `laws`: what a law is, how it is tested, and the verdict
- `of_targets`, `of_tasks`, `of_gauges`, `of_generators`: the laws of these kinds
- `moved_labels`: whether labels of places come to where their inputs come
- `of_training`: more of generators, about how they are trained
- `of_estimators`, `of_diversities`, `of_objectives`: the laws of these
- `of_exports`: the laws of targets that leave the framework, as modules and in files
- `strategies`: hypothesis strategies
- `examples`, `networks`: example networks
- `spec_parts`: short ways to write parts of their specs

Example:
    >>> [check.verdict().state for check in checks("logit_shift")[:3]]
    ['passed', 'passed', 'passed']
"""

from hyperframe.testing.kit import Check, checks, conformance
from hyperframe.testing.laws import ConformanceError, Verdict

__all__ = ["Check", "ConformanceError", "Verdict", "checks", "conformance"]
