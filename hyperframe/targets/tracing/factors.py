"""Factors and signs that are products of others: labels with relations between them, and what is free in the end."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import FIXED, ZERO, Partition, distinct_pairs

Exponent = int | Fraction
Combination = dict[int, Exponent]
"""A product of labels: for each its exponent."""


class Factors(Partition):
    """Labels some of which are products of powers of others, as what two scaled activations make together.

    The logarithms of factors obey linear equations, over the rational numbers; signs obey them modulo 2. `solve` has
    what remains free.

    Args:
        signs: whether these are signs, so that a square is 1.

    Attributes:
        rooted: labels of which `solve` would have needed a root.
        joint: labels of products that `solve` took for free, since several products are equal to each.

    Example:
        >>> factors = Factors()
        >>> one, other = factors.new(1), factors.new(1)
        >>> both = factors.product([(one, 1), (other, 1)])
        >>> factors.solve([one, other], [])[int(both)]
        {0: 1, 1: 1}
        >>> factors.freeze(both)                    # their product is 1: one is the other's inverse
        >>> factors.solve([one, other], [])[int(other)]
        {0: -1}
    """

    def __init__(self, *, signs: bool = False) -> None:
        super().__init__()
        self._signs = signs
        self.rooted: set[int] = set()
        self.joint: set[int] = set()
        self._relations: list[Combination] = []
        self._known: dict[tuple[tuple[int, Exponent], ...], int] = {}

    def product(self, parts: Sequence[tuple[Tensor, Exponent]]) -> Tensor:
        """Label an entrywise product of powers: of each part its labels, and the exponent.

        A product is `ZERO` where a part with a positive exponent is, `FIXED` where no label is left in it.
        """
        labels = torch.broadcast_tensors(*[part for part, _ in parts])
        shape = labels[0].shape
        same = [all(part.stride(dim) == 0 for part in labels) for dim in range(len(shape))]
        kept = tuple(slice(0, 1) if alike else slice(None) for alike in same)
        columns = torch.stack([part[kept] for part in labels], -1)
        distinct, places = torch.unique(columns.reshape(-1, len(parts)), dim=0, return_inverse=True)
        exponents = [exponent for _, exponent in parts]
        found = torch.tensor([self._product_of(row, exponents) for row in distinct.tolist()], dtype=torch.int64)
        return found[places].view(columns.shape[:-1]).expand(shape)

    def _product_of(self, labels: list[int], exponents: list[Exponent]) -> int:
        if any(label == ZERO and exponent > 0 for label, exponent in zip(labels, exponents, strict=True)):
            return ZERO
        found: Combination = {}
        for label, exponent in zip(labels, exponents, strict=True):
            if label >= 0 and exponent:
                _add(found, {label: exponent}, 1, self._signs)
        if not found:
            return FIXED
        if len(found) == 1 and 1 in found.values():
            return next(iter(found))
        key = tuple(sorted(found.items()))
        if key not in self._known:
            self._known[key] = label = int(self.new(1))
            self.relate({**found, label: -1})
        return self._known[key]

    def relate(self, relation: Combination) -> None:
        """Note that a product of powers of labels is 1."""
        self._relations.append(relation)

    def inverse(self, one: Tensor, other: Tensor) -> None:
        """Note that labels are each other's inverse, pairwise; where one of a pair is `FIXED` the other is frozen."""
        for a, b in distinct_pairs(one, other).tolist():
            if a >= 0 and b >= 0:
                self.relate({a: 2} if a == b else {a: 1, b: 1})
            elif ZERO not in (a, b):
                self.freeze(torch.tensor([a, b]))

    def solve(self, anchored: Sequence[Tensor], used: Sequence[Tensor]) -> list[Combination]:
        """Return for every label the product of free labels that it is; the empty product for one that is frozen.

        `rooted` then has the labels that were frozen since something used would need a root of them.

        Args:
            anchored: labels of what filters write, in the order in which they do. Where there is a choice, others are
                expressed by these, and later ones by earlier ones; what would be free and is not among them is frozen.
            used: labels of all that is multiplied, whose exponents must be whole.
        """
        self._unite_roots()
        lookup = self.lookup()
        roots = lookup.tolist()
        places: dict[int, int] = {}
        for labels in anchored:
            for root in lookup[labels.clamp(min=FIXED)].tolist():
                places.setdefault(root, len(places))
        self.joint = self._joint(roots)
        order = places | dict.fromkeys(self.joint, -1)
        pivots: dict[int, Combination] = {}
        inside: dict[int, set[int]] = {}
        for relation in self._relations:
            left: Combination = {}
            for label, exponent in relation.items():
                if roots[label] != FIXED:
                    _add(left, pivots.get(roots[label], {roots[label]: 1}), exponent, self._signs)
            if left:
                pivot = max(left, key=lambda label: (order.get(label, len(order)), label))
                divisor = left.pop(pivot)
                value = {label: _ratio(-exponent, divisor, self._signs) for label, exponent in left.items()}
                for user in inside.pop(pivot, set()):
                    exponent = pivots[user].pop(pivot, 0)
                    _add(pivots[user], value, exponent, self._signs)
                    _enter(inside, user, pivots[user])
                pivots[pivot] = value
                _enter(inside, pivot, value)
        whole = {root for labels in used for root in lookup[labels.clamp(min=FIXED)].tolist()}
        powers = {item for root in whole for item in pivots.get(root, {}).items()}
        self.rooted = {label for label, power in powers if power != int(power)}
        known = set(places) | {label for label in self.joint if places.keys() & inside.get(label, set())}
        gone = self.rooted | {root for root in roots if root != FIXED and root not in pivots and root not in known}
        products = ({} if root == FIXED else pivots.get(root, {root: 1}) for root in roots[:-1])
        return [{label: power for label, power in product.items() if label not in gone} for product in products]

    def _unite_roots(self) -> None:
        """Unite positive factors of which the same power is the same."""
        if self._signs:
            return
        earlier: dict[tuple[int, Exponent], int] = {}
        for relation in self._relations:
            powers = [(label, exponent) for label, exponent in relation.items() if exponent != -1]
            if len(powers) == 1 and len(relation) == 2:
                label, exponent = powers[0]
                key = self.root(max(relation, key=lambda other: other != label)), exponent
                first = earlier.setdefault(key, label)
                self.unite(torch.tensor([first]), torch.tensor([label]))

    def _joint(self, roots: list[int]) -> set[int]:
        """Find products to which others, of other labels, are equal, such as those of all units before a LayerNorm."""
        equal: dict[int, list[Combination]] = {}
        for relation in self._relations:
            parts = {roots[label]: exponent for label, exponent in relation.items() if exponent != -1}
            made = [roots[label] for label, exponent in relation.items() if exponent == -1]
            if len(made) == 1 and made[0] != FIXED and parts not in equal.setdefault(made[0], []):
                equal[made[0]].append(parts)
        several = {root: parts for root, parts in equal.items() if len(parts) > 1}
        uses = Counter(label for products in several.values() for parts in products for label in parts)
        return {
            root
            for root, products in several.items()
            if all(len(parts) > 1 and set(parts.values()) == {1} for parts in products)
            and all(uses[label] == 1 for parts in products for label in parts)
        }


def _add(into: Combination, value: Combination, times: Exponent, signs: bool) -> None:
    for label, exponent in value.items():
        total = into.get(label, 0) + exponent * times
        total = total % 2 if signs else total
        if total:
            into[label] = total
        else:
            into.pop(label, None)


def _ratio(one: Exponent, other: Exponent, signs: bool) -> Exponent:
    ratio = Fraction(one) / Fraction(other)
    if signs:
        return int(ratio) % 2  # both are odd
    return int(ratio) if ratio.denominator == 1 else ratio


def _enter(inside: dict[int, set[int]], user: int, value: Combination) -> None:
    for label in value:
        inside.setdefault(label, set()).add(user)
