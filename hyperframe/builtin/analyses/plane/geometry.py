"""The plane through three points, and coordinates on it."""

import torch
from torch import Tensor


class Plane:
    """The plane through three points of a space, with an orthonormal basis: the first is (0, 0), the second (a, 0).

    If the points lie on one line, or coincide, the missing directions are zero, and the plane is a line or a point.

    Args:
        points: [3, entries].

    Attributes:
        origin: the first point, [entries].
        basis: two orthogonal vectors of length 1 or 0, [2, entries].
        places: coordinates of the three points, [3, 2].

    Example:
        >>> plane = Plane(torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0], [1.0, 0.0, 4.0]]))
        >>> plane.places.tolist()
        [[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]]
        >>> plane.at(torch.tensor([[2.0, 4.0]])).tolist()
        [[3.0, 0.0, 4.0]]
    """

    def __init__(self, points: Tensor) -> None:
        self.origin = points[0]
        apart = points[1:] - self.origin
        first = _unit(apart[0])
        second = _unit(apart[1] - (apart[1] @ first) * first)
        self.basis = torch.stack([first, second])
        self.places = (points - self.origin) @ self.basis.T

    def at(self, places: Tensor) -> Tensor:
        """Return the points with coordinates [..., 2]: [..., entries]."""
        points: Tensor = self.origin + places @ self.basis
        return points


def _unit(vector: Tensor) -> Tensor:
    """Return the vector scaled to length 1; zero stays zero."""
    unit: Tensor = vector / vector.norm().clamp(min=torch.finfo(vector.dtype).tiny)
    return unit


def inside_triangle(places: Tensor, corners: Tensor) -> Tensor:
    """Return which places [..., 2] lie in the triangle of three corners [3, 2], edges included: bool [...].

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> inside_triangle(torch.tensor([[0.5, 0.5], [2.0, 2.0]]), corners).tolist()
        [True, False]
    """
    edges = corners.roll(-1, 0) - corners
    to = places[..., None, :] - corners
    sides = edges[:, 0] * to[..., 1] - edges[:, 1] * to[..., 0]
    slack = 1e-6 * edges.norm(dim=1).max() ** 2
    inside: Tensor = (sides >= -slack).all(-1) | (sides <= slack).all(-1)
    return inside
