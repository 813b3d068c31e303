"""Models of metatomic as potentials: PET, MACE and whatever else is exported to it."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import torch

from kstep_integrators import units
from kstep_integrators.arguments import check_device, positive_number
from kstep_integrators.potentials.batched_forces import warn_of_electrons_unseen
from kstep_integrators.potentials.foreign_model import ForeignModel
from kstep_integrators.potentials.metatomic_forces import INPUTS, MetatomicForces
from kstep_integrators.potentials.module_digest import module_digest
from kstep_integrators.state import BoundPotential, PhaseState

__all__ = ["MetatomicPotential"]

_MISSING = "metatomic models need metatomic: pip install 'kstep-integrators[metatomic]'"


class MetatomicPotential(ForeignModel):
    """A metatomic model as the potential of a flow, on its own device.

    Forces are the gradient of its energy. All molecules of an ensemble are computed in one call.

    Parameters
    ----------
    model : str, Path or metatomic.torch.AtomisticModel
        An exported model, or one in memory, of which a copy is kept. **An exported model is
        TorchScript: loading it runs the code in the file**, with the extensions that it names. Load
        files only of whom you trust.
    timestep : float
        Base step, ASE time units; default 0.25 fs.
    device : str or torch.device
        ``"auto"`` takes the first of the devices that the model supports and that is there.
    variant : str, optional
        Of the energy, where a model has several, such as ``"pbe"``.
    extensions : str or Path, optional
        Folder of the compiled extensions that an exported model needs.

    Raises
    ------
    ImportError
        Without the extra ``metatomic``.
    TypeError, ValueError
        If the model is none, has no such energy, does not say its units, asks for inputs other than
        charge and spin, or does not support the device; or an argument is of another type.
        Attributes cannot be changed: AttributeError.

    Notes
    -----
    What the model declares is honoured: its units, its precision, its elements (others are refused
    when a run begins), and its neighbour lists, which ``vesin`` makes. Each direction of a cell is
    periodic or open, as the atoms say. Hessians are made by automatic differentiation, or by
    differences of forces where a model does not allow that.

    Examples
    --------
    >>> from kstep_integrators import MetatomicPotential
    >>> potential = MetatomicPotential("pet-mad.pt")  # doctest: +SKIP
    >>> KStepDynamics(atoms, potential, k=8)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        timestep: float = 0.25 * units.FS,
        device: str | torch.device = "auto",
        variant: str | None = None,
        extensions: str | Path | None = None,
    ) -> None:
        check_device(device)
        self._timestep = positive_number("timestep", timestep, "base step in ASE time units")
        self.source, self.digest, loaded = _loaded(model, extensions)
        capabilities = loaded.capabilities()
        self.variant, self.extensions = variant, None if extensions is None else str(extensions)
        self.output = _energy_of(capabilities, variant)
        _check_inputs(loaded)
        self.dtype: torch.dtype = getattr(torch, capabilities.dtype)
        self._device = _device_of(capabilities.supported_devices, str(device))
        self.model = loaded.to(self._device)
        self.name = str(loaded.metadata().name)

    def to(self, device: torch.device | str) -> MetatomicPotential:
        """The same model on another device, loaded anew if it is from a file.

        Raises
        ------
        ValueError
            If the model does not support it, or it is not there.
        """
        if torch.device(device) == self._device:
            return self
        model = self.source or self.model
        return MetatomicPotential(model, self._timestep, device, self.variant, self.extensions)

    def describe(self) -> dict[str, Any]:
        """Name and hash of the model, which energy, and the precision."""
        return {
            "metatomic": self.name,
            "sha256": self.digest,
            "output": self.output,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of the molecules of a state.

        Raises
        ------
        ValueError
            If the model does not cover their elements.

        Warns
        -----
        KStepWarning
            If they have a charge or spin and the model does not ask for it.
        """
        capabilities = self.model.capabilities()
        unknown = sorted(set(state.numbers.tolist()) - set(capabilities.atomic_types))
        if unknown:
            raise ValueError(
                f"the metatomic model {self.name!r} does not cover the atomic numbers {unknown}; "
                f"it covers {sorted(capabilities.atomic_types)}"
            )
        asked = self.model.requested_inputs(use_new_names=True)
        seen = [INPUTS[name] for name in asked]
        warn_of_electrons_unseen(state, f"the metatomic model {self.name!r}", seen)
        return MetatomicForces(self.model, self.output, state, self._device, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> MetatomicPotential:
        other = copy.copy(self)
        vars(other)["model"] = copy.deepcopy(self.model, memo)
        return other

    def __copy__(self) -> MetatomicPotential:
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.source:
            raise TypeError(
                f"the metatomic model {self.name!r} is not from a file, and only its file can be "
                "named to another process: save it with model.save(path) and make "
                "MetatomicPotential(path)"
            )
        arguments = (self._timestep, str(self._device), self.variant, self.extensions)
        return _again, (self.source, self.digest, *arguments)


def _again(source: str, digest: str, *arguments: Any) -> MetatomicPotential:
    """The potential of a file, in another process."""
    potential = MetatomicPotential(source, *arguments)
    if potential.digest != digest:
        raise ValueError(
            f"the metatomic model {source!r} has the hash {potential.digest[:16]}..., but that of "
            f"{digest[:16]}... was meant: put the old file back"
        )
    return potential


def _loaded(model: Any, extensions: str | Path | None) -> tuple[str, str, Any]:
    """Path (empty for a model in memory), hash, and the model."""
    try:
        from metatomic.torch import AtomisticModel, is_atomistic_model, load_atomistic_model
    except ModuleNotFoundError as error:
        raise ImportError(_MISSING) from error
    if isinstance(model, str | Path):
        path = Path(model)
        if not path.is_file():
            raise ValueError(
                f"there is no file {str(model)!r}: pass the path of an exported metatomic model, "
                "or an AtomisticModel"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            return str(path.absolute()), digest, load_atomistic_model(path, extensions)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{str(model)!r} cannot be loaded as an exported metatomic model: {error}"
            ) from error
    if not isinstance(model, torch.nn.Module) or not is_atomistic_model(model):
        raise TypeError(
            f"model is a {type(model).__name__}, expected the path of an exported metatomic model, "
            "or an AtomisticModel: AtomisticModel(module.eval(), ModelMetadata(), capabilities)"
        )
    if extensions is not None:
        raise ValueError(
            f"extensions is {str(extensions)!r}, but the model is loaded already: leave it out"
        )
    module: Any = copy.deepcopy(model)
    if not isinstance(module, AtomisticModel):  # it is all TorchScript
        module = AtomisticModel(module, module.metadata(), module.capabilities())
    return "", module_digest(module), module


def _energy_of(capabilities: Any, variant: str | None) -> str:
    """Name of the energy among the outputs of a model, whose units are known."""
    from metatomic.torch import pick_output

    outputs = capabilities.outputs
    if variant is not None and not isinstance(variant, str):
        raise TypeError(f"variant is {variant!r}, expected the name of one, or None")
    if not any(name == "energy" or name.startswith("energy/") for name in outputs):
        raise ValueError(
            f"the metatomic model has no energy, and a flow moves on one; its outputs are "
            f"{sorted(outputs)}"
        )
    try:
        name: str = pick_output("energy", outputs, variant)
    except ValueError as error:
        raise ValueError(f"variant is {variant!r}: {error}") from error
    for what, unit in (
        ("length", capabilities.length_unit),
        (f"energy ({name})", outputs[name].unit),
    ):
        if not unit:
            raise ValueError(
                f"the metatomic model does not say its unit of {what}, and a guess may be wrong: "
                "export it with length_unit='angstrom' and ModelOutput(unit='eV'), or what it is"
            )
    return name


def _check_inputs(model: Any) -> None:
    """Refuse a model that asks for more than charge and spin of whole molecules."""
    asked = model.requested_inputs(use_new_names=True)
    unknown = [n for n, one in asked.items() if n not in INPUTS or one.sample_kind != "system"]
    if unknown:
        raise ValueError(
            f"the metatomic model asks for the inputs {unknown}, which a flow does not give it: "
            "only the charge and spin_multiplicity of each molecule are known. "
            "CalculatorPotential(MetatomicCalculator(...)) knows more"
        )


def _device_of(supported: list[str], device: str) -> torch.device:
    """The device of a model, from those that it supports."""
    from metatomic.torch import pick_device

    if device != "auto" and torch.device(device).type not in supported:
        raise ValueError(f"device is {device!r}, but the metatomic model supports {supported}")
    if device != "auto":
        return torch.device(device)
    try:
        return torch.device(pick_device(supported, None))
    except RuntimeError as error:
        raise ValueError(
            f"the metatomic model supports the devices {supported}, none of which is here"
        ) from error
