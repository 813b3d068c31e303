"""MMFF94 Systems in OpenMM against RDKit's own MMFF94, term by term.

    python -m benchmarks.mmff94_match

Every molecule of `mm_train` and `qm_train`, and others with groups that those lists lack, both
variants, ten distorted geometries each: conformers of the stage `prep` in turn, every coordinate
displaced by a normal deviate of 0.02 to 0.2 angstrom. RDKit switches its terms on and off, OpenMM
its forces; "total" is the whole force field. Largest absolute errors in kcal/mol and
kcal/(mol angstrom), on OpenMM's Reference and CPU platforms. Wanted: 1e-4 and 1e-3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import openmm
import rdkit
from openmm import unit
from rdkit import Chem
from rdkit.Chem import AllChem

from benchmarks.common import write_result
from kstep_integrators import units
from kstep_training.prep.molecules import bundled_list, conformers, hydrogenated, read_smiles
from kstep_training.prep.systems import build_system

Floats = npt.NDArray[np.float64]

TERMS = {
    "Bond": ("bonds",),
    "Angle": ("angles", "linear angles"),
    "StretchBend": ("stretch-bends",),
    "Oop": ("out of plane",),
    "Torsion": ("torsions",),
    "VdW": ("van der Waals",),
    "Ele": ("electrostatics",),
}
VARIANTS = {"mmff94": "MMFF94", "mmff94s": "MMFF94s"}
PLATFORMS = ("Reference", "CPU")
LISTS = ("mm_train", "qm_train", "others")
AMPLITUDES = (0.02, 0.05, 0.1, 0.15, 0.2)
GEOMETRIES = 10
KCAL = unit.kilocalorie_per_mole

OTHERS = (
    "C=C=C", "CC#CC", "C=CC#N", "C#CC#C", "CN=[N+]=[N-]", "[CH2]=[N+]=[N-]", "C[N+]#[C-]",
    "CN=C=O", "CN=C=S", "C=C=O", "O=C=C=C=O", "c1ccccc1[N+]#N", "N#N", "CN=NC", "CON=O",
    "C/C=N/O", "NN", "ON", "N[N+](=O)[O-]", "c1cc[n+]([O-])cc1", "C[N+](C)(C)[O-]", "CS", "CSC",
    "CSSC", "CS(C)=O", "CS(C)(=O)=O", "CS(N)(=O)=O", "OS(=O)(=O)O", "CC(N)=S", "c1ccsc1",
    "C1CS1", "S=P(C)(C)C", "CP", "COP(=O)(OC)OC", "ClP(Cl)Cl", "C[Si](C)(C)C", "FC(F)F",
    "ClCCl", "CBr", "CI", "O=Cl(=O)(=O)[O-]", "CC(=O)[O-]", "C[NH3+]", "C[N+](C)(C)C",
    "NC(N)=[NH2+]", "c1cc[nH+]cc1", "C[n+]1ccn(C)c1", "C[S+](C)C", "[OH-]", "[OH3+]", "C1CCC1",
    "C1=CC1", "C1CC2CC12", "C12C3C4C1C5C2C3C45", "C1CN1", "C1CO1", "O=C1CCC1", "C1C=CC=CC1",
    "O=C1C=CC(=O)C=C1", "c1ncncn1", "c1nn[nH]n1", "c1cnon1", "c1ccc2[nH]ccc2c1",
    "O=c1[nH]cnc2[nH]cnc12", "CC1(C)C2CCC1(C)C(=O)C2",
)  # fmt: skip


def distorted(smiles: str) -> list[Floats]:
    """Geometries in angstrom."""
    rng = np.random.default_rng(0)
    starts = conformers(smiles, GEOMETRIES)
    return [
        starts[index % len(starts)].positions
        + rng.normal(0.0, AMPLITUDES[index % len(AMPLITUDES)], (len(starts[0]), 3))
        for index in range(GEOMETRIES)
    ]


def rdkit_fields(smiles: str, geometry: Floats, variant: str) -> dict[str, Any]:
    """RDKit's force field with one term each, and the whole."""
    mol = hydrogenated(smiles)
    conformer = Chem.Conformer(len(geometry))
    for index, position in enumerate(geometry.tolist()):
        conformer.SetAtomPosition(index, position)
    mol.AddConformer(conformer)
    props = AllChem.MMFFGetMoleculeProperties(mol, mmffVariant=variant)
    fields = {}
    for term in (*TERMS, "total"):
        for other in TERMS:
            getattr(props, f"SetMMFF{other}Term")(term in (other, "total"))
        # No pair is beyond the threshold, as in the System.
        fields[term] = AllChem.MMFFGetMoleculeForceField(mol, props, nonBondedThresh=1e6)
        fields[term].Initialize()
    return fields


def groups_of(system: openmm.System) -> dict[str, int]:
    """Give every force a group of its own; the bit mask of each term."""
    masks = dict.fromkeys(TERMS, 0)
    for index, force in enumerate(system.getForces()):
        force.setForceGroup(index)
        name = force.getName().removeprefix("MMFF94 ")
        (term,) = [term for term, names in TERMS.items() if name in names]
        masks[term] |= 1 << index
    return {**masks, "total": -1}


def compare(smiles: str, forcefield: str, platforms: tuple[str, ...] = PLATFORMS) -> dict[str, Any]:
    """Largest errors of each term on each platform, and the largest force met."""
    geometries = distorted(smiles)
    fields = rdkit_fields(smiles, geometries[0], VARIANTS[forcefield])
    system = build_system(hydrogenated(smiles), forcefield)
    masks = groups_of(system)
    found: dict[str, Any] = {"atoms": len(geometries[0]), "largest_force": 0.0}
    for platform in platforms:
        context = openmm.Context(
            system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform)
        )
        errors = {term: [0.0, 0.0] for term in masks}
        for geometry in geometries:
            flat = geometry.ravel().tolist()
            context.setPositions(geometry / units.NM)
            for term, mask in masks.items():
                # In this order: CalcGrad reuses the distances that CalcEnergy found.
                expected_energy = fields[term].CalcEnergy(flat)
                expected = -np.reshape(fields[term].CalcGrad(flat), (-1, 3))
                energy, forces = 0.0, np.zeros_like(geometry)
                if mask:
                    state = context.getState(energy=True, forces=True, groups=mask)
                    energy = state.getPotentialEnergy().value_in_unit(KCAL)
                    forces = state.getForces(asNumpy=True).value_in_unit(KCAL / unit.angstrom)
                found["largest_force"] = max(found["largest_force"], float(abs(expected).max()))
                error = errors[term]
                error[0] = max(error[0], abs(energy - expected_energy))
                error[1] = max(error[1], float(abs(forces - expected).max()))
        found[platform] = {
            term: {"energy": error[0], "force": error[1]} for term, error in errors.items()
        }
    return found


def main() -> None:
    """Measure and write."""
    lists = {name: read_smiles(bundled_list(name))[0] for name in LISTS[:2]}
    jobs = [(name, m.name, m.smiles) for name, found in lists.items() for m in found]
    jobs += [("others", smiles, smiles) for smiles in OTHERS]
    kinds = ("energy", "force")
    terms = (*TERMS, "total")
    largest = {
        platform: {name: {term: dict.fromkeys(kinds, 0.0) for term in terms} for name in LISTS}
        for platform in PLATFORMS
    }
    rows: list[dict[str, Any]] = []
    for listed, name, smiles in jobs:
        found = [compare(smiles, forcefield) for forcefield in VARIANTS]
        row: dict[str, Any] = {"list": listed, "molecule": name, "atoms": found[0]["atoms"]}
        row["largest_force"] = max(one["largest_force"] for one in found)
        for kind in kinds:
            row[kind] = {t: max(one["Reference"][t][kind] for one in found) for t in terms}
            for one in found:
                for platform in PLATFORMS:
                    for term, worst in largest[platform][listed].items():
                        worst[kind] = max(worst[kind], one[platform][term][kind])
        rows.append(row)
        print(name, row["energy"]["total"], row["force"]["total"], flush=True)
    versions = {"openmm": openmm.__version__, "rdkit": rdkit.__version__}
    what = f"{__doc__}\nRows: the Reference platform, the larger error of the two variants."
    # Two digits: the rest is rounding.
    write_result(
        "mmff94_match", rounded({"what": what, **versions, "largest": largest, "rows": rows})
    )


def rounded(value: Any) -> Any:
    """The same with two significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.1e}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
