"""MMFF94 in OpenMM against RDKit's own, term by term."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import openmm
import pytest
from openmm import unit
from rdkit import Chem
from rdkit.Chem import AllChem

from kstep_training.prep.mmff94_parameters import mmff94_parameters
from kstep_training.prep.molecules import conformers, hydrogenated
from kstep_training.prep.systems import build_system

KCAL = unit.kilocalorie_per_mole
# RDKit's switch of each term, and the forces that make it up.
TERMS = {
    "Bond": ("bonds",),
    "Angle": ("angles", "linear angles"),
    "StretchBend": ("stretch-bends",),
    "Oop": ("out of plane",),
    "Torsion": ("torsions",),
    "VdW": ("van der Waals",),
    "Ele": ("electrostatics",),
}
# Every kind of term; linear middle atoms of each type (4, 53, 61), rings of three and four, a cage
# whose 1-4 pairs are 1-3 pairs too, donors and acceptors, ions, second-row atoms.
SPREAD = [
    "O",
    "C=O",
    "C=C=C",
    "CC#CC",
    "CN=[N+]=[N-]",
    "C[N+]#[C-]",
    "c1ccccc1[N+]#N",
    "C1CC2CC12",
    "C12C3C4C1C5C2C3C45",
    "NCC(=O)O",
    "Nc1ccccc1",
    "CC(=O)[O-]",
    "NC(N)=[NH2+]",
    "CS(N)(=O)=O",
    "COP(=O)(OC)OC",
    "C[Si](C)(C)Cl",
    "CC(=O)Oc1ccccc1C(=O)O",
]


def rdkit(
    smiles: str, x: npt.NDArray[np.float64], variant: str, terms: tuple[str, ...]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Energy in kcal/mol and forces in kcal/(mol angstrom) of some terms."""
    mol = hydrogenated(smiles)
    conformer = Chem.Conformer(len(x))
    for index, position in enumerate(x.tolist()):
        conformer.SetAtomPosition(index, position)
    mol.AddConformer(conformer)
    props = AllChem.MMFFGetMoleculeProperties(mol, mmffVariant=variant)
    for term in TERMS:
        getattr(props, f"SetMMFF{term}Term")(term in terms)
    field = AllChem.MMFFGetMoleculeForceField(mol, props)
    return field.CalcEnergy(), -np.reshape(field.CalcGrad(), (-1, 3))


def context_of(system: openmm.System) -> openmm.Context:
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


def of_openmm(
    context: openmm.Context, x: npt.NDArray[np.float64], groups: int = -1
) -> tuple[float, npt.NDArray[np.float64]]:
    context.setPositions(x / 10.0)
    state = context.getState(energy=True, forces=True, groups=groups)
    forces = state.getForces(asNumpy=True).value_in_unit(KCAL / unit.angstrom)
    return state.getPotentialEnergy().value_in_unit(KCAL), forces


def shaken(smiles: str, seed: int, amplitude: float) -> npt.NDArray[np.float64]:
    x = conformers(smiles)[0].positions
    return x + np.random.default_rng(seed).normal(0.0, amplitude, x.shape)


@pytest.mark.parametrize("forcefield", ["mmff94", "mmff94s"])
@pytest.mark.parametrize("smiles", SPREAD)
def test_every_term_is_rdkits(smiles: str, forcefield: str) -> None:
    variant = {"mmff94": "MMFF94", "mmff94s": "MMFF94s"}[forcefield]
    system = build_system(hydrogenated(smiles), forcefield)
    groups = dict.fromkeys(TERMS, 0)
    for index, force in enumerate(system.getForces()):
        force.setForceGroup(index)
        name = force.getName().removeprefix("MMFF94 ")
        (term,) = [term for term, names in TERMS.items() if name in names]
        groups[term] += 1 << index
    context = context_of(system)
    for seed, amplitude in enumerate((0.02, 0.1, 0.2)):
        x = shaken(smiles, seed, amplitude)
        for terms, mask in [
            *(((term,), mask) for term, mask in groups.items()),
            (tuple(TERMS), -1),
        ]:
            energy, forces = of_openmm(context, x, mask) if mask else (0.0, np.zeros_like(x))
            expected_energy, expected = rdkit(smiles, x, variant, terms)
            # Required are 1e-4 and 1e-3.
            assert energy == pytest.approx(expected_energy, rel=1e-12, abs=1e-9), terms
            np.testing.assert_allclose(forces, expected, rtol=1e-9, atol=1e-8, err_msg=str(terms))


def test_the_spread_has_every_term() -> None:
    result = [mmff94_parameters(hydrogenated(smiles)) for smiles in SPREAD]
    for term in vars(result[0]):
        assert any(getattr(parameters, term) for parameters in result), term


def test_the_variants_differ_where_nitrogen_is_delocalized() -> None:
    x = shaken("Nc1ccccc1", 0, 0.1)
    energies = [
        of_openmm(context_of(build_system(hydrogenated("Nc1ccccc1"), forcefield)), x)[0]
        for forcefield in ("mmff94", "mmff94s")
    ]
    assert abs(energies[0] - energies[1]) > 0.1


def test_by_hand() -> None:
    """Water at right angles with bonds of 1 angstrom, from the parameters in Halgren's tables."""
    context = context_of(build_system(hydrogenated("O")))
    x = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    kb, r0, ka, theta0, kba = 7.880, 0.969, 0.658, 103.978, 0.210
    d, bend = 1.0 - r0, 90.0 - theta0
    bonds = 2 * 143.9325 / 2 * kb * d**2 * (1 - 2 * d + 7 / 12 * 4 * d**2)
    angle = 0.043844 / 2 * ka * bend**2 * (1 - 0.006981317 * bend)
    coupling = 2.51210 * 2 * kba * d * bend
    energy, forces = of_openmm(context, x)
    assert energy == pytest.approx(bonds + angle + coupling, abs=2e-4)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)


def test_forces_are_minus_the_slope_of_the_energy() -> None:
    smiles = "NCC(=O)O"
    context = context_of(build_system(hydrogenated(smiles)))
    x = shaken(smiles, 5, 0.1)
    _, forces = of_openmm(context, x)
    step = np.random.default_rng(0).normal(0.0, 1.0, x.shape)
    ahead, behind = (of_openmm(context, x + sign * 1e-5 * step)[0] for sign in (1.0, -1.0))
    assert -(ahead - behind) / 2e-5 == pytest.approx((forces * step).sum(), rel=1e-6)


@pytest.mark.parametrize("smiles", ["F", "OB(O)O", "[H][H]"])
def test_what_mmff94_does_not_cover(smiles: str) -> None:
    with pytest.raises(ValueError, match="MMFF94 has no atom types for a molecule of"):
        build_system(hydrogenated(smiles))


def test_unknown_variant() -> None:
    with pytest.raises(ValueError, match="variant is 'MMFF95', expected one of MMFF94, MMFF94s"):
        mmff94_parameters(hydrogenated("C"), "MMFF95")


def test_system_survives_serialization() -> None:
    smiles: str = "CC(=O)Oc1ccccc1C(=O)O"
    system: Any = build_system(hydrogenated(smiles), constraints="HBonds")
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    x = shaken(smiles, 1, 0.1)
    energy, forces = of_openmm(context_of(system), x)
    same_energy, same_forces = of_openmm(context_of(again), x)
    assert same_energy == pytest.approx(energy, rel=1e-14)
    np.testing.assert_allclose(same_forces, forces, rtol=1e-12, atol=1e-9)
    assert again.getNumConstraints() == system.getNumConstraints() == 8
