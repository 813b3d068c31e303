"""Direct jump: a network predicts where k base steps lead, in one pass."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import SetOnce, check_device, check_dtype
from kstep_integrators.jumps.base import Averaged, BoundJump, JumpInfo
from kstep_integrators.jumps.baseline import drift, without_mean
from kstep_integrators.mechanics.averaging import Window
from kstep_integrators.mechanics.motion import constrain, kick
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.models.coverage import check_coverage, species_of
from kstep_integrators.models.model_file import ModelHeader, header_of
from kstep_integrators.nn.common.neighbor_lists import dense_layout
from kstep_integrators.nn.increments.network import IncrementNetwork, Increments
from kstep_integrators.state import Evaluation, HessianProducts, PhaseState

__all__ = ["DirectJump"]

CORRECTORS = {"plain": "none", "verlet": "delta"}
"""The corrector that stands around a direct jump, by its baseline."""

HYDROGEN, H_BONDS = 1, "HBonds"

MASS_TOLERANCE = 5e-4
"""Relative; tables of atomic weights differ by less, isotopes by more."""


def _opened(state: PhaseState, forces: Tensor, stride: float, baseline: str) -> Tensor:
    """Momenta after the half-kick of the baseline; fixed bonds have no say in it.

    Increments are learned on top of the whole force: that of the constraints is in them.
    """
    if baseline == "plain":
        return state.momenta
    free = state.replace(bonds=None, bond_lengths=None, bond_offsets=None)
    return kick(free, forces, 0.5 * stride).momenta


class _BoundDirect:
    """A direct jump for one set of atoms."""

    def __init__(self, jump: DirectJump, state: PhaseState) -> None:
        self.jump = jump
        species = species_of(jump.header, state)
        self.padding, self.graph = dense_layout(species, state.batch, jump.device)

    def begin(self, state: PhaseState) -> None:
        """Nothing: there is no potential."""

    def linearized(self, state: PhaseState) -> HessianProducts:
        raise ValueError(
            f"model {self.jump.header.name!r} makes direct jumps: it has no potential, and so no "
            "Hessian"
        )

    def averaged(self, state: PhaseState, inner: Evaluation, window: Window) -> Averaged:
        raise ValueError(
            f"model {self.jump.header.name!r} makes direct jumps: it has no potential, along whose "
            "motion positions could be averaged"
        )

    def __call__(
        self, state: PhaseState, physics: Evaluation, inner: Evaluation | None, k: int
    ) -> tuple[PhaseState, JumpInfo]:
        jump, padding = self.jump, self.padding
        number = jump.check_stride(k)
        stride, baseline = k * jump.timestep, jump.baseline
        forces = physics.require_forces()
        opened = _opened(state, forces, stride, baseline)
        m, x, f = padding.pad(state.masses), padding.pad(state.positions), padding.pad(forces)
        masses = torch.where(self.graph.atom_mask.unsqueeze(-1), m, 1.0)
        v, v0 = padding.pad(opened) / masses, padding.pad(state.momenta) / masses
        predicted = self._increments(without_mean(x, m), without_mean(v0, m), f, number)
        # In single precision the network's own projection is exact to its own rounding only.
        dx, dv = without_mean(predicted.positions, m), without_mean(predicted.velocities, m)
        shaken = shake(state, padding.flat(drift(baseline, x, v, m, stride) + dx))
        landed = state.replace(positions=shaken.positions, time=state.time + stride)
        landed = landed.replace(momenta=constrain(landed, padding.flat(m * (v + dv))))
        end = None
        if predicted.forces is not None:
            unknown = torch.full_like(state.time, math.nan)
            end = Evaluation(unknown, padding.flat(predicted.forces))
        return landed, JumpInfo(k, None, end, shaken.failures)

    def _increments(self, x: Tensor, v: Tensor, f: Tensor, number: int) -> Increments:
        """Increments of the network, in double precision."""
        dtype = self.jump.dtype
        strides = torch.full((len(x),), number, dtype=torch.int64, device=x.device)
        with torch.no_grad():
            predicted: Increments = self.jump.network(
                x.to(dtype), v.to(dtype), f.to(dtype), strides, self.graph
            )
        forces = None if predicted.forces is None else predicted.forces.to(torch.float64)
        return Increments(
            predicted.positions.to(torch.float64), predicted.velocities.to(torch.float64), forces
        )


class DirectJump(SetOnce):
    r"""A learned map from one end of a stride to the other, on top of a baseline.

    With the corrector ``delta`` around it (baseline ``verlet``)

    .. math::

        x' = x + h v + \tfrac{h^2}{2m} F + \delta x, \quad
        v' = v + \tfrac{h}{2m} (F + F') + \delta v

    and alone (baseline ``plain``) :math:`x' = x + h V + \delta x,\; v' = v + \delta v`, with h the
    stride, F and F' the physical forces at its ends, and V the velocity of the centre of mass. The
    map is equivariant and keeps the total momentum; it is neither time-reversible nor
    volume-preserving, and keeps no angular momentum. See
    :mod:`kstep_integrators.jumps.baseline`.

    Parameters
    ----------
    network : IncrementNetwork
        Predicts the increments for the strides and the base step it was trained with, which are the
        only ones.
    header : ModelHeader
        What the model covers.
    digest : str
        Identity of the weights, kept in restart files.
    device : str or torch.device
        ``"auto"`` takes a CUDA device where there is one.
    dtype : torch.dtype
        float32 or float64 arithmetic; positions and momenta are float64 in any case.
    source : str
        Bundled name or path that :func:`~kstep_integrators.jumps.load.load_model` finds it by, if
        it does: a checkpoint names it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type. Attributes cannot be changed: AttributeError.

    Examples
    --------
    >>> from kstep_integrators import DirectJump
    >>> from kstep_integrators.models.model_file import ModelHeader
    >>> from kstep_integrators.nn.increments.network import IncrementNetwork
    >>> network = IncrementNetwork(
    ...     [1, 8],
    ...     strides=[4],
    ...     timestep_fs=0.5,
    ...     baseline="verlet",
    ...     scales=[[[0.04, 0.08]] * 2],
    ...     masses=[1.008, 15.999],
    ... )
    >>> jump = DirectJump(network, ModelHeader("untrained", network.config, "none"), device="cpu")
    >>> jump.allowed_k, jump.correctors, jump.reversible
    ((4,), ('delta',), False)
    """

    needs_forces = True
    reversible = False

    def __init__(
        self,
        network: IncrementNetwork,
        header: ModelHeader,
        digest: str = "",
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
        source: str = "",
    ) -> None:
        check_device(device)
        check_dtype(dtype)
        if not isinstance(network, IncrementNetwork):
            raise TypeError(
                f"network is a {type(network).__name__}, expected an IncrementNetwork; for a model "
                "file call load_model(...)"
            )
        if not isinstance(header, ModelHeader):
            raise TypeError(
                f"header is a {type(header).__name__}, expected what it covers: ModelHeader"
            )
        for name, text in (("digest", digest), ("source", source)):
            if not isinstance(text, str):
                raise TypeError(f"{name} is {text!r}, expected text, such as load_model passes")
        if str(device) == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # A copy: training may go on with the network where it is.
        self.network = copy.deepcopy(network).to(device=device, dtype=dtype)
        self.header, self.digest = header_of(network, header), digest
        self.dtype, self.source = dtype, source
        config = network.config
        self.allowed_k: tuple[int, ...] = tuple(int(k) for k in config["strides"])
        self.timestep = float(config["timestep_fs"]) * units.FS
        self.baseline = str(config["baseline"])
        self.correctors = (CORRECTORS[self.baseline],)
        self.predicts: tuple[str, ...] = ("forces",) if config["force_head"] else ()
        self._masses = dict(zip(config["elements"], config["masses"], strict=True))
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._device

    def to(self, device: torch.device | str) -> DirectJump:
        """The same jump on another device."""
        if torch.device(device) == self._device:
            return self
        return DirectJump(self.network, self.header, self.digest, device, self.dtype, self.source)

    def check_stride(self, k: int) -> int:
        """Index of a stride among those the network was trained with.

        Raises
        ------
        ValueError
            If it is none of them.
        """
        if k not in self.allowed_k:
            raise ValueError(
                f"k={k}, but model {self.header.name!r} was trained for jumps of "
                f"{list(self.allowed_k)} base steps of {self.timestep / units.FS:g} fs, and a "
                "direct jump can make no others; choose one of these"
            )
        return self.allowed_k.index(k)

    def check(self, state: PhaseState) -> None:
        """Refuse what the network was not trained for.

        Raises
        ------
        ValueError
            For elements or masses it does not know, periodic cells, fixed atoms, and constraints
            that are not those it was trained with.
        """
        check_coverage(self.header, state)
        expected = [self._masses[z] for z in state.numbers.tolist()]
        for atom, (mass, known) in enumerate(
            zip(state.masses[:, 0].tolist(), expected, strict=True)
        ):
            if abs(mass - known) > MASS_TOLERANCE * known:
                raise ValueError(
                    f"atom {atom} has the mass {mass:g} u, but model {self.header.name!r} has "
                    f"learned the motion of {known:g} u: a direct jump knows no other masses. Use "
                    "that mass, train a model with the other one, or use a potential"
                )
        self._check_constraints(state)
        if state.mobile is not None and not bool((state.mobile > 0).all()):
            fixed = torch.nonzero(state.mobile[:, 0] == 0).flatten().tolist()
            raise ValueError(
                f"atoms {fixed[:10]} are fixed, but model {self.header.name!r} has learned the "
                "motion of free molecules: remove FixAtoms, or use a potential"
            )

    def _check_constraints(self, state: PhaseState) -> None:
        fixed = [] if state.bonds is None else state.bonds.tolist()
        hydrogens = torch.nonzero(state.numbers == HYDROGEN).flatten().tolist()
        expected = self.header.constraints == H_BONDS
        ends = [atom for bond in fixed for atom in bond]
        others = [bond for bond in fixed if not set(hydrogens).intersection(bond)]
        rigid = [atom for atom in hydrogens if ends.count(atom) > 1]
        missing = [atom for atom in hydrogens if atom not in ends] if expected else []
        if (fixed and not expected) or others or rigid or missing:
            raise ValueError(
                f"model {self.header.name!r} was trained with constraints="
                f"{self.header.constraints!r}, but the system has {len(fixed)} bonds of fixed "
                f"length for {len(hydrogens)} hydrogen atoms"
                + (f", {len(others)} of them without hydrogen" if others else "")
                + (f", and atoms {rigid[:10]} in rigid angles" if rigid else "")
                + (
                    ": fix the bonds of all hydrogen atoms, and no others, with "
                    "ase.constraints.FixBondLengths, in OpenMM constraints=HBonds, rigidWater=False"
                    if expected
                    else ": remove FixBondLengths (in OpenMM constraints=None, rigidWater=False), "
                    "or use a model that was trained with it"
                )
            )

    def bind(self, state: PhaseState) -> BoundJump:
        """Prepare for one set of atoms; refuses what the network was not trained for."""
        self.check(state)
        return _BoundDirect(self, state)

    def describe(self) -> dict[str, Any]:
        """Kind, strides, baseline, and name, method and hash of the model."""
        return {
            "jump": "direct",
            "timestep": self.timestep,
            "strides": list(self.allowed_k),
            "baseline": self.baseline,
            "constraints": self.header.constraints,
            "model": self.header.name,
            "method": self.header.method,
            "sha256": self.digest,
            "dtype": str(self.dtype).removeprefix("torch."),
        }
