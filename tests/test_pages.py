"""The Python of the pages on other packages and codes runs as it is written, in order."""

import re
import threading
import uuid
from pathlib import Path

import pytest
from ase.calculators.lj import LennardJones
from ase.calculators.socketio import SocketClient

from kstep_integrators import CalculatorPotential, KStepDynamics
from tests.potentials import models_of_others as others

DOCS = Path(__file__).parents[1] / "docs"


def snippets(name):
    found = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), flags=re.DOTALL)
    assert found
    return [re.sub(r"\.run\(\d+\)", ".run(3)", one) for one in found]  # shorter, the same code


@pytest.mark.filterwarnings("ignore:forces of the torch-sim model:kstep_integrators.KStepWarning")
def test_potentials_of_other_packages(tmp_path, monkeypatch):
    pytest.importorskip("metatomic.torch", reason="metatomic is not installed")
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    monkeypatch.chdir(tmp_path)
    others.exported(tmp_path)
    names = {}
    for number, source in enumerate(snippets("potentials.md")):
        exec(compile(source, f"snippet {number}", "exec"), names)
        assert names["dyn"].stats.jumps == 3
        assert names["dyn"].stats.fallbacks == 0
    assert (tmp_path / "argon.safetensors").is_file()


def test_another_code_serves_the_physics_through_a_socket(monkeypatch):
    server, client = snippets("other_codes.md")
    name = f"kstep-{uuid.uuid4().hex[:8]}"  # another run of the tests may be under way
    started = []

    def start_client():
        from ase.build import molecule

        around = {"molecule": molecule, "client_physics": LennardJones(sigma=0.9, epsilon=0.1)}
        code = compile(client.replace('"kstep"', repr(name)), "client", "exec")
        started.append(threading.Thread(target=exec, args=(code, around), daemon=True))
        started[0].start()

    potential = CalculatorPotential(LennardJones(sigma=0.9, epsilon=0.09))
    names = {"potential": potential, "start_client": start_client}
    exec(compile(server.replace('"kstep"', repr(name)), "server", "exec"), names)
    started[0].join(timeout=10)
    assert not started[0].is_alive()
    assert SocketClient.__name__ in client
    assert names["dyn"].stats.physics_evaluations == 4
    atoms = names["molecule"]("CH3CH2OH", cell=[12, 12, 12], pbc=True)
    names["thermalize_momenta"](atoms, temperature_K=300, rng=names["np"].random.default_rng(0))
    atoms.calc = LennardJones(sigma=0.9, epsilon=0.1)
    KStepDynamics(atoms, potential, k=8, timestep=0.25 * names["units"].FS).run(3)
    names["np"].testing.assert_allclose(names["atoms"].positions, atoms.positions, atol=1e-12)
