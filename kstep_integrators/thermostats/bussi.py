"""Bussi: one random factor for all momenta of a molecule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import real_number
from kstep_integrators.mechanics.degrees_of_freedom import FreeMotion, free_motion
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.thermostats.base import bath_kelvin, check_temperature
from kstep_integrators.thermostats.noise import Noise, gammas, normals

__all__ = ["Bussi"]


@dataclass(frozen=True)
class Bussi:
    r"""Stochastic velocity rescaling half-steps, exact for any stride.

    Bussi, Donadio & Parrinello, doi:10.1063/1.2408420. With :math:`c = e^{-h/2\tau}`,
    :math:`s^2 = (1 - c)\,k_B T / 2`, one normal :math:`R_1` and one :math:`\chi^2` of
    :math:`N_f - 1` degrees of freedom, the kinetic energy K of :math:`N_f` degrees becomes

    .. math:: K' = (\sqrt{c K} + s R_1)^2 + s^2 \chi^2_{N_f - 1},

    which is the paper's equation A7, and the momenta are multiplied by
    :math:`\alpha = \pm\sqrt{K'/K}` with the sign of :math:`\sqrt{c K} + s R_1` (A8).

    These are the momenta that :func:`~kstep_integrators.mechanics.degrees_of_freedom.free_motion`
    leaves: the total momentum of each molecule, and the angular momentum of an isolated one, stay
    what they are, and the rest samples the canonical ensemble at these values. (Multiplied like the
    rest, they would walk at random in their logarithm, and in a run that is long enough even a
    rounding error would become a molecule that flies or spins.) With both zero, all momenta are
    multiplied by one number and keep their directions. Each molecule of a batch has a bath of its
    own. If the physics does not conserve a total momentum (an outer field), this bath does not
    reach it directly; Langevin does.

    Attributes
    ----------
    temperature_K : float
    taut : float
        Relaxation time of the kinetic energy, ASE time units; ``math.inf`` is constant energy.

    Raises
    ------
    TypeError, ValueError
        If one is no number, or out of its range.
    """

    temperature_K: float
    taut: float

    def __post_init__(self) -> None:
        check_temperature(self.temperature_K)
        real_number("taut", self.taut, "ASE time units")
        if not self.taut > 0:
            raise ValueError(f"taut is {self.taut}, expected a number > 0 in ASE time units")

    def check(self, state: PhaseState) -> None:
        """Refuse molecules without free motion.

        Raises
        ------
        ValueError
            If a molecule has no degree of freedom that is not conserved or fixed (a single atom),
            or no kinetic energy in those that it has, so that there is nothing to rescale.
        """
        self._free(state)

    def _free(self, state: PhaseState) -> tuple[FreeMotion, Tensor]:
        """The momenta to be rescaled and their kinetic energies, (B,) eV."""
        free = free_motion(state)
        stuck = torch.nonzero(free.degrees == 0).flatten().tolist()
        if stuck:
            raise ValueError(
                f"molecules {stuck[:10]} of the state have no degree of freedom that is not "
                "conserved or fixed (a single atom moves uniformly), and nothing for the bussi "
                "thermostat to rescale; use thermostat='langevin'"
            )
        kinetic = kinetic_energy(state.replace(momenta=free.momenta))
        # Below this, what is left after the conserved motion was taken out is rounding.
        thermal = units.KB * bath_kelvin(state, self.temperature_K)
        thermal = torch.as_tensor(thermal).to(kinetic)
        cold = kinetic <= 1e-26 * kinetic_energy(state).clamp(min=thermal)
        if bool((cold & (thermal > 0)).any()):
            raise ValueError(
                f"molecules {torch.nonzero(cold).flatten().tolist()[:10]} of the state have no "
                "kinetic energy (apart from uniform motion and rotation), and the bussi thermostat "
                "can only rescale it; thermalize first, with "
                "ase.md.velocitydistribution.thermalize_momenta(atoms, temperature_K=...)"
            )
        return free, kinetic

    def half_step(self, state: PhaseState, stride: float, rng: Noise) -> PhaseState:
        """Rescale; draws a normal for each molecule, then a gamma variate for each.

        Raises
        ------
        ValueError
            As :meth:`check`.
        """
        free, kinetic = self._free(state)
        # At a temperature of zero there may be none, and nothing to divide.
        kinetic = kinetic.clamp(min=torch.finfo(kinetic.dtype).tiny)
        normal = normals(rng, state)
        chi_square = 2.0 * gammas(rng, 0.5 * (free.degrees.double() - 1.0))
        decay = -0.5 * stride / self.taut
        kelvin = bath_kelvin(state, self.temperature_K)
        width = (-0.5 * math.expm1(decay) * units.KB * kelvin / kinetic).sqrt()
        along = math.exp(0.5 * decay) + width * normal
        size = (along.square() + width.square() * chi_square).sqrt()
        scale = torch.where(along < 0, -size, size)
        change = (scale - 1.0)[state.batch, None] * free.momenta
        return state.replace(momenta=state.momenta + change)

    def describe(self) -> dict[str, Any]:
        """Name, temperature and relaxation time."""
        return {"thermostat": "bussi", "temperature_K": self.temperature_K, "taut": self.taut}
