"""The house: files found by their names alone, and its size."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from benchmarks.checkout import Checkout
from benchmarks.structure import contract_ranks, longest_chain, room_imports

ROOT = Path(__file__).resolve().parents[1]

# A reader's question; words of it that the path must have; the only file whose path has them; and
# what answers it there.
QUESTIONS = [
    ("SHAKE", ["shake"], "kstep_integrators/mechanics/shake.py", "shake"),
    ("the bond watch", ["bond_watch"], "kstep_integrators/mechanics/bond_watch.py", "find_bonds"),
    ("on_error", ["on_error"], "kstep_integrators/step/on_error.py", "controlled"),
    ("the barostat", ["barostat"], "kstep_integrators/step/barostat.py", "try_volume"),
    ("the O step", ["thermostats", "langevin"], "kstep_integrators/thermostats/langevin.py",
     "Langevin"),
    ("OpenMM's program of a step", ["openmm/", "program.py"], "kstep_integrators/openmm/program.py",
     "StepProgram"),
    ("where evaluations are counted", ["physics/", "counting"],
     "kstep_integrators/physics/counting.py", "Meter"),
    ("the format of checkpoints", ["checkpoint", "file"],
     "kstep_integrators/ase/checkpoint_file.py", "read_checkpoint"),
    ("the residual's rms", ["residual"], "kstep_integrators/diagnostics/residuals.py",
     "residual_rms"),
    ("the neighbour list", ["neighbor"], "kstep_integrators/nn/common/neighbor_lists.py",
     "build_skin_list"),
    ("the loss on structures", ["structure", "loss"],
     "training/kstep_training/fit/structure_losses.py", "structure_penalty"),
]  # fmt: skip


@pytest.fixture(scope="module")
def checkout() -> Checkout:
    return Checkout(ROOT)


@pytest.mark.parametrize(
    ("words", "file", "answer"), [q[1:] for q in QUESTIONS], ids=[q[0] for q in QUESTIONS]
)
def test_a_question_leads_to_one_file_by_its_name(
    checkout: Checkout, words: list[str], file: str, answer: str
) -> None:
    paths = [m.path.relative_to(ROOT).as_posix() for m in checkout.part("library", "training")]
    assert [path for path in paths if all(word in path for word in words)] == [file]
    tree = ast.parse((ROOT / file).read_text())
    assert answer in {getattr(node, "name", None) for node in tree.body}


def test_the_rooms_are_few(checkout: Checkout) -> None:
    """At most so many files, which grow in number where they get shorter.

    Of OpenMM 16: raised from 11 when the program of a step and the arguments of its integrator
    were set in files of one job each.
    """
    library, training = ROOT / "kstep_integrators", ROOT / "training/kstep_training"
    assert len(list(library.glob("*.py"))) <= 8
    assert len(list((library / "openmm").rglob("*.py"))) <= 16
    assert len(list((training / "evaluate").rglob("*.py"))) <= 28


def test_imports_go_one_way_on_few_ranks(checkout: Checkout) -> None:
    assert (contract_ranks(checkout) or 99) <= 14
    assert longest_chain(room_imports(checkout)) <= 14


def test_contributing_names_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    library = ROOT / "kstep_integrators"
    roots = (ROOT, library, library / "nn/energy", ROOT / "training")
    for name in re.findall(r"`([a-z_0-9./]+(?:\.py|/))`", text):
        assert any((root / name).exists() for root in roots), name
    layers = (ROOT / "setup.cfg").read_text().split("layers =")[1].split("\n\n")[0]
    for room in re.findall(r"\w+", layers):
        assert f"`{room}`" in text or f"`{room}/`" in text, room
