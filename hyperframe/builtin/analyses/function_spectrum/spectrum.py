"""Spectra of networks: in how many directions they differ, of their weights or of their functions."""

import torch
from torch import Tensor


class Spectrum:
    """The spectrum of rows that come in parts: of N networks, whatever they are described by.

    It is that of the Gram matrix of the rows, centred over the networks, so that memory is N², however long a row is.

    Attributes:
        gram: float64 [networks, networks], of rows that are not centred.

    Example:
        >>> spectrum = Spectrum(4)
        >>> spectrum.add(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        >>> round(spectrum.participation_ratio(), 6), [round(float(value), 6) for value in spectrum.shares()[:2]]
        (2.0, [0.5, 0.5])
    """

    def __init__(self, networks: int, device: torch.device | str = "cpu") -> None:
        self.gram = torch.zeros(networks, networks, dtype=torch.float64, device=device)

    def add(self, rows: Tensor) -> None:
        """Take in a part of all rows, [networks, entries]."""
        rows = rows.double()
        self.gram += rows @ rows.T

    def participation_ratio(self) -> float:
        """(Σ λ)² / Σ λ² of the variances λ along the principal directions: in how many directions networks differ.

        It is between 1 and the number of networks less one, and 0 where all networks are alike.
        """
        centred = self._centred()
        total, squares = float(centred.trace()), float((centred**2).sum())
        return total**2 / squares if squares > 0 else 0.0

    def shares(self) -> Tensor:
        """The parts of the variance along the principal directions, the greatest first: float64 [networks]."""
        values: Tensor = torch.linalg.eigvalsh(self._centred()).flip(0).clamp(min=0).cpu()
        return values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)

    def share_along_mean(self) -> float:
        """The part of the variance that lies along the networks' mean row; 0 where that is zero.

        Of logits it is what networks differ by in confidence alone.
        """
        with_mean = self.gram.mean(1)  # of each row with the mean row
        mean, total = float(with_mean.mean()), float(self._centred().trace())
        along = float(((with_mean - with_mean.mean()) ** 2).sum())
        return along / (mean * total) if mean > 0 and total > 0 else 0.0

    def lengths(self) -> Tensor:
        """The length of each network's row, float64 [networks]: of logits how sure a network is of itself."""
        return self.gram.diagonal().clamp(min=0).sqrt().cpu()

    def _centred(self) -> Tensor:
        """The Gram matrix of rows from which the mean row is taken away."""
        rows = self.gram - self.gram.mean(0)
        return rows - rows.mean(1, keepdim=True)
