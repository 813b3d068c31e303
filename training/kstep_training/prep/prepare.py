"""The stage ``prep``: a molecule list becomes conformers, topologies and OpenMM Systems.

One folder for each molecule, see :mod:`kstep_training.prep.prepared`. A finished one is never made
again; what failed is named with its reason in ``manifest.json``, and the other molecules go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kstep_training.keys import setting
from kstep_training.manifest import open_manifest, write_manifest
from kstep_training.options import override
from kstep_training.prep.molecules import (
    Molecule,
    conformers,
    find_list,
    hydrogenated,
    read_smiles,
)
from kstep_training.prep.prepared import Prepared, topology, write_prepared
from kstep_training.prep.systems import CONSTRAINTS, build_system, check_force_field
from kstep_training.progress import followed

__all__ = ["PrepSettings", "prepare", "run_prep"]


@dataclass(frozen=True)
class PrepSettings:
    """Conformers and force field of the prepared molecules.

    Raises
    ------
    ValueError
        If a value is out of its range.
    ImportError
        If the force field is not installed.
    """

    conformers: int = setting(
        10, "conformers of each molecule, at most; small rigid ones have fewer"
    )
    seed: int = setting(0, "seed of the embedding")
    forcefield: str | None = setting(
        "mmff94",
        "force field: mmff94, mmff94s or openff; null for molecules that none covers, which get "
        "no System",
    )
    constraints: str | None = setting(
        None,
        "HBonds keeps bonds with hydrogen at the force field's rest length, for steps of 2 fs; or "
        "null",
    )

    def __post_init__(self) -> None:
        if self.forcefield is not None:
            check_force_field(self.forcefield)
        if self.conformers < 1:
            raise ValueError(f"conformers is {self.conformers}, expected at least 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")
        if self.constraints not in CONSTRAINTS:
            raise ValueError(f"constraints is {self.constraints!r}, expected HBonds or null")
        if self.constraints is not None and self.forcefield is None:
            raise ValueError(
                f"constraints is {self.constraints!r}, but without a force field "
                "(forcefield=null) nothing knows their lengths; choose one or the other"
            )


def _prepared(molecule: Molecule, settings: PrepSettings) -> Prepared:
    mol = hydrogenated(molecule.smiles)
    system = None
    if settings.forcefield is not None:
        system = build_system(mol, settings.forcefield, settings.constraints)
    starts = conformers(molecule.smiles, settings.conformers, settings.seed)
    return Prepared(molecule.name, topology(mol), system, tuple(starts))


def prepare(
    molecules: Sequence[Molecule], folder: str | Path, settings: PrepSettings
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Prepare every molecule into ``folder/NAME/``.

    Parameters
    ----------
    molecules : sequence of Molecule
    folder : path
        Finished molecules in it are kept and skipped, if they were made with the same settings.
    settings : PrepSettings

    Returns
    -------
    iterator of (str, dict)
        Name and report, as each molecule ends; the reports are also kept in
        ``folder/manifest.json``.

    Raises
    ------
    ValueError
        If the folder holds data made with other settings or, under the same name, from another
        SMILES string.
    FileExistsError
        While iterating, if the folder holds something else under the name of a molecule.
    """
    folder = Path(folder)
    manifest = open_manifest(folder, settings)
    for molecule in molecules:
        known = manifest["molecules"].get(molecule.name, {})
        if known.get("status") == "done" and known["smiles"] != molecule.smiles:
            raise ValueError(
                f"{folder / molecule.name} was prepared from {known['smiles']!r}, but line "
                f"{molecule.line} of the list says {molecule.smiles!r}; choose another name or "
                "folder"
            )
    return _each(molecules, folder, settings, manifest)


def _each(
    molecules: Sequence[Molecule], folder: Path, settings: PrepSettings, manifest: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for molecule in molecules:
        name = molecule.name
        known = manifest["molecules"].get(name, {})
        if known.get("status") == "done" and (folder / name).is_dir():
            yield name, known
            continue
        report: dict[str, Any] = {"line": molecule.line, "smiles": molecule.smiles}
        try:
            prepared = _prepared(molecule, settings)
        except Exception as error:  # noqa: BLE001  (reported; the others go on)
            report |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        else:
            first = prepared.conformers[0]
            report |= {
                "status": "done",
                "atoms": len(first),
                "charge": first.info["charge"],
                "conformers": len(prepared.conformers),
            }
            if "isomer" in first.info:
                report["isomer"] = first.info["isomer"]
        manifest["molecules"][name] = report
        write_manifest(folder, manifest)
        # After the manifest: one that is on record but not there is made again, and a folder that
        # is there but not on record is somebody else's.
        if report["status"] == "done":
            write_prepared(folder, prepared)
        yield name, report


def run_prep(source: str, overrides: Sequence[str], output: Path) -> None:
    """Prepare a molecule list, with progress and problems on the console.

    Parameters
    ----------
    source : str
        A ``.smi`` file, or the name of a bundled list.
    overrides : sequence of str
        ``key=value``, the fields of :class:`PrepSettings`.
    output : Path
        Folder of the results. Run again with the same folder, finished molecules are kept.

    Raises
    ------
    ValueError
        If the list, the settings or the folder cannot be used, or every molecule failed.
    OSError
        If the folder cannot be written.
    ImportError
        If the force field is not installed.
    """
    console = Console()
    settings = override(PrepSettings, overrides)
    molecules, problems = read_smiles(find_list(source))
    for problem in problems:
        console.print(f"[yellow]skipped[/] {escape(problem)}", highlight=False, soft_wrap=True)
    if not molecules:
        raise ValueError(f"{source} holds no usable molecule; give one 'SMILES name' per line")
    reports = prepare(molecules, output, settings)
    ended: Counter[str] = Counter()
    failed, chosen = [], []
    for name, report in followed(reports, "molecules prepared", len(molecules)):
        ended[report["status"]] += 1
        if report["status"] != "done":
            failed.append(f"line {report['line']}, {name}: {report['reason']}")
        elif "isomer" in report:
            chosen.append(
                f"line {report['line']}, {name}: {report['smiles']} leaves stereochemistry open; "
                f"all conformers are {report['isomer']} or its mirror image"
            )
    for line in chosen:
        console.print(f"[yellow]chosen[/] {escape(line)}", highlight=False, soft_wrap=True)
    for line in failed:
        console.print(f"[yellow]failed[/] {escape(line)}", highlight=False, soft_wrap=True)
    if not ended["done"]:
        raise ValueError(f"none of the {len(molecules)} molecules of {source} could be prepared")
    console.print(
        f"Prepared {ended['done']} molecules in {escape(str(output))}; {ended['failed']} failed, "
        f"{len(problems)} lines skipped",
        highlight=False,
        soft_wrap=True,
    )
