"""The conformance kit: laws that every component of a kind must keep, tried on drawn examples.

`checks` lists the laws of a component, `conformance` makes tests of them, `hyperframe check NAME` and
`pytest --hyperframe-target NAME` run the same list. `hyperframe.testing.strategies` has the strategies for hypothesis
that it draws from, `hyperframe.testing.examples` the example networks.

- `kit`: checks by name, and as tests
- `laws`: how a law is tried, and what comes of it
- `of_targets`, `of_tasks`, `of_gauges`, `of_generators`: the laws of these kinds
- `of_estimators`, `of_diversities`, `of_objectives`: the laws of these
- `of_exports`: the law of a module's graph
- `strategies`: for hypothesis
- `examples`, `networks`: example networks
- `spec_parts`: parts of their specs, in short

Example:
    >>> [check.verdict().state for check in checks("logit_shift")[:3]]
    ['passed', 'passed', 'passed']
"""

from hyperframe.testing.kit import Check, checks, conformance
from hyperframe.testing.laws import ConformanceError, Verdict

__all__ = ["Check", "ConformanceError", "Verdict", "checks", "conformance"]
