"""The GPU path of the PySCF calculator: against a strict stand-in, and against a GPU if there is.

What a GPU computes is GPU4PySCF's business; what is tested without one is that arrays cross to and
from the device where they must, and that nobody is left on the wrong device unnoticed.
"""

import logging
import pickle
import re
import sys
import warnings

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from pyscf import gto
from pyscf.scf import hf

from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf import device
from kstep_integrators.calculators.pyscf.device import GPUUnavailable, find_gpu
from kstep_integrators.units import HARTREE
from tests.calculators.pyscf import stand_in_gpu

PROPERTIES = ("energy", "forces", "dipole", "charges")
SMALL = {"basis": "6-31g", "conv_tol": 1e-12}


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """CuPy and GPU4PySCF for one test."""
    monkeypatch.chdir(tmp_path)
    found = stand_in_gpu.modules()
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    return found["cupy"]


def water():
    return molecule("H2O")


def amidogen():
    """An open shell that is not degenerate, as hydroxyl's is."""
    atoms = molecule("NH2")
    atoms.set_initial_magnetic_moments(None)
    atoms.info["multiplicity"] = 2
    return atoms


def along(atoms, calculator, steps=4):
    """Properties at nearby geometries, so that later ones start from densities before them."""
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    found = []
    for _ in range(steps):
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
        calculator.calculate(atoms, PROPERTIES)
        found.append(dict(calculator.results))
    return found


def mean_field(method="RHF", atoms=None, **settings):
    atoms = atoms or water()
    made = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        basis="6-31g",
        spin=atoms.info.get("multiplicity", 1) - 1,
        verbose=0,
    )
    configured = getattr(made, method)(**settings)
    if "xc" in settings:
        configured.grids.level = 0
    return configured


# --- with a GPU ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [water, amidogen])
@pytest.mark.parametrize("level", [{"method": "hf"}, {"xc": "pbe", "grid_level": 0}])
def test_results_are_those_of_the_cpu(gpu, make, level):
    there = PySCFCalculator(**level, **SMALL, device="cuda")
    expected = along(make(), PySCFCalculator(**level, **SMALL, device="cpu"))
    for one, other in zip(along(make(), there), expected, strict=True):
        for name in PROPERTIES:
            assert isinstance(one[name], float | np.ndarray)
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-9)
    assert type(there.mean_field).__module__.startswith("gpu4pyscf")
    assert isinstance(there.mean_field.mo_coeff, stand_in_gpu.DeviceArray)


def test_later_geometries_start_from_extrapolated_densities(gpu):
    calculator = PySCFCalculator(method="hf", **SMALL, device="cuda")
    along(water(), calculator)
    assert calculator.last_call.attempt == "extrapolated density"
    assert calculator.totals.retries == 0


def test_the_grid_response_is_asked_for(gpu):
    level = {"xc": "pbe", "grid_level": 0, "grid_response": True, **SMALL}
    (one,) = along(water(), PySCFCalculator(**level, device="cuda"), steps=1)
    (other,) = along(water(), PySCFCalculator(**level, device="cpu"), steps=1)
    np.testing.assert_allclose(one["forces"], other["forces"], rtol=0, atol=1e-9)
    assert abs(one["forces"].sum(0)).max() < 1e-6


def test_memory_goes_back_after_each_call(gpu):
    calculator = PySCFCalculator(method="hf", **SMALL, device="cuda")
    along(water(), calculator, steps=3)
    assert gpu.get_default_memory_pool().freed == list(range(stand_in_gpu.DEVICES)) * 3
    assert len(gpu.get_default_pinned_memory_pool().freed) == 3
    # and after one that fails
    calculator.mean_field.max_cycle = 1
    calculator.mean_field.newton = NotImplemented
    stretched = water()
    stretched.positions[1:] *= 1.7
    with pytest.raises(CalculationFailed, match="GPU4PySCF has no such solver for RHF"):
        along(stretched, calculator, steps=1)
    assert len(gpu.get_default_pinned_memory_pool().freed) == 4


def test_no_memory_to_give_back_on_the_cpu(gpu):
    along(water(), PySCFCalculator(method="hf", **SMALL, device="cpu"), steps=1)
    assert gpu.get_default_memory_pool().freed == []


@pytest.mark.parametrize(
    ("failures", "attempt"), [(1, "damping and level shift"), (2, "second-order solver")]
)
@pytest.mark.parametrize("make", [water, amidogen])
def test_the_ladder_climbs_on_the_device(gpu, monkeypatch, make, failures, attempt):
    """GPU4PySCF has no damping, not one of zero; its solvers take arrays on the device."""
    cls = stand_in_gpu.RHF if make is water else stand_in_gpu.UHF
    (expected,) = along(make(), PySCFCalculator(method="hf", **SMALL, device="cpu"), steps=1)
    monkeypatch.setattr(cls, "failures", failures)
    calculator = PySCFCalculator(method="hf", **SMALL, device="cuda")
    (found,) = along(make(), calculator, steps=1)
    assert calculator.last_call.attempt == attempt
    assert calculator.last_call.retries == failures
    for name in PROPERTIES:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=2e-5)
    assert calculator.mean_field.damp is calculator.mean_field.level_shift is None
    assert isinstance(calculator.mean_field.mo_coeff, stand_in_gpu.DeviceArray)


def test_auto_takes_the_gpu_and_says_so_once(gpu, caplog):
    calculator = PySCFCalculator(method="hf", **SMALL)
    with caplog.at_level(logging.INFO, logger=device.__name__):
        along(water(), calculator, steps=2)
    assert [r.getMessage() for r in caplog.records] == ["PySCF runs on the GPU Stand-in"]
    assert device.is_on_gpu(calculator.mean_field)


def test_a_mean_field_on_the_gpu_stays_there(gpu):
    given = mean_field().to_gpu()
    calculator = PySCFCalculator(given, device="auto")
    along(water(), calculator, steps=2)
    assert calculator.mean_field is given


@pytest.mark.parametrize("method", ["RHF", "RKS"])
def test_a_mean_field_on_the_gpu_is_moved_back(gpu, method):
    settings = {"xc": "pbe"} if method == "RKS" else {}
    given = mean_field(method, **settings).to_gpu()
    given.max_cycle = 37
    given.kernel()
    moved = device.place(given, "cpu")
    assert list(traces_of_a_gpu(given))
    assert not list(traces_of_a_gpu(moved))
    calculator = PySCFCalculator(given, device="cpu")
    found = along(water(), calculator)
    assert not device.is_on_gpu(calculator.mean_field)
    assert calculator.mean_field.max_cycle == 37
    expected = along(water(), PySCFCalculator(mean_field(method, **settings), device="cpu"))
    np.testing.assert_allclose(found[-1]["forces"], expected[-1]["forces"], rtol=0, atol=1e-9)


def traces_of_a_gpu(method):
    """Attributes that need one, of a mean field and of its parts."""
    for name, value in vars(method).items():
        for one in value.values() if isinstance(value, dict) else [value]:
            if device.is_on_gpu(one) or isinstance(one, stand_in_gpu.DeviceArray):
                yield name
            elif hasattr(one, "mol"):
                yield from traces_of_a_gpu(one)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("method", ["RHF", "RKS"])
def test_pickles_can_be_read_without_a_gpu(gpu, monkeypatch, method, used):
    settings = {"xc": "pbe"} if method == "RKS" else {}
    given = mean_field(method, **settings).to_gpu()
    calculator = PySCFCalculator(given)
    if used:
        along(water(), calculator, steps=2)
    stored = pickle.dumps(calculator)
    assert b"gpu4pyscf" not in stored
    assert b"stand_in" not in stored
    assert device.is_on_gpu(given)
    # Who has pickled it goes on
    (expected,) = along(water(), calculator, steps=1)
    for name in stand_in_gpu.modules():
        monkeypatch.setitem(sys.modules, name, None)
    read = pickle.loads(stored)  # noqa: S301 - our own
    (found,) = along(water(), read, steps=1)
    assert not device.is_on_gpu(read.mean_field)
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-7)


# --- without ------------------------------------------------------------------------------------


class DriverError(RuntimeError):
    """As cupy_backends.cuda.api.runtime.CUDARuntimeError."""


def _refuse(*args):
    raise DriverError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")


def _no_cupy(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def _no_gpu4pyscf(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpu4pyscf", None)


def _no_device(gpu, monkeypatch):
    monkeypatch.setattr(gpu.cuda.runtime, "getDeviceCount", lambda: 0)


def _old_driver(gpu, monkeypatch):
    monkeypatch.setattr(gpu.cuda.runtime, "getDeviceCount", _refuse)


def _wrong_results(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "arange", lambda n: stand_in_gpu.DeviceArray(np.zeros(n)))


def _no_method(gpu, monkeypatch):
    def to_gpu(self):
        raise NotImplementedError("not for this")

    monkeypatch.setattr(hf.RHF, "to_gpu", to_gpu)


def _no_gradient(gpu, monkeypatch):
    monkeypatch.setattr(stand_in_gpu.RHF, "nuc_grad_method", NotImplemented)


MISSING = [
    (_no_cupy, "cupy.*kstep-integrators.gpu-cuda12.*gpu-cuda13"),
    (_no_gpu4pyscf, "gpu4pyscf.*kstep-integrators.gpu-cuda12.*gpu-cuda13"),
    (_no_device, "CUDA finds no device"),
    (_old_driver, "DriverError: cudaErrorInsufficientDriver"),
    (_wrong_results, "the CUDA device computes"),
    (_no_method, "GPU4PySCF has no RHF: NotImplementedError: not for this"),
    (_no_gradient, "GPU4PySCF has no forces for RHF"),
]


@pytest.mark.parametrize(("spoil", "reason"), MISSING)
def test_auto_falls_back_and_says_why_once(gpu, monkeypatch, caplog, spoil, reason):
    spoil(gpu, monkeypatch)
    calculator = PySCFCalculator(method="hf", **SMALL)
    with caplog.at_level(logging.INFO, logger=device.__name__):
        along(water(), calculator, steps=2)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("PySCF runs on the CPU: ")
    assert re.search(reason, record.getMessage())
    assert not device.is_on_gpu(calculator.mean_field)


@pytest.mark.parametrize(("spoil", "reason"), MISSING)
def test_cuda_is_an_error_where_it_cannot_be_had(gpu, monkeypatch, spoil, reason):
    spoil(gpu, monkeypatch)
    atoms = water()
    atoms.calc = PySCFCalculator(method="hf", **SMALL, device="cuda")
    with pytest.raises(GPUUnavailable, match=f"device='cuda', but .*{reason}"):
        atoms.get_potential_energy()
    assert atoms.calc.results == {}


def test_restricted_open_shells_run_on_the_cpu(gpu, caplog):
    """GPU4PySCF converges ROHF, but has no forces for it."""
    calculator = PySCFCalculator(method="hf", unrestricted=False, **SMALL)
    with caplog.at_level(logging.INFO, logger=device.__name__):
        along(amidogen(), calculator, steps=1)
    assert "GPU4PySCF has no forces for ROHF" in caplog.text
    given = mean_field("ROHF", amidogen()).to_gpu()
    assert device.is_on_gpu(given)
    calculator = PySCFCalculator(given)
    along(amidogen(), calculator, steps=1)
    assert not device.is_on_gpu(calculator.mean_field)


def test_an_array_on_the_device_is_never_converted_by_accident():
    """The stand-in refuses what CuPy refuses, or the tests above would prove nothing."""
    array = stand_in_gpu.DeviceArray(np.ones(2))
    for convert in (np.asarray, np.sort, lambda a: a + np.ones(2), lambda a: np.ones(2) * a):
        with pytest.raises(TypeError):
            convert(array)
    np.testing.assert_array_equal(device.to_host(array), np.ones(2))


# --- on a real one ------------------------------------------------------------------------------


def _gpu_is_there():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            find_gpu()
        except GPUUnavailable:
            return False
    return True


@pytest.mark.skipif(not _gpu_is_there(), reason="needs GPU4PySCF and a CUDA device")
@pytest.mark.filterwarnings("default")  # other people's
class TestRealGPU:
    @pytest.mark.parametrize("make", [water, amidogen])
    @pytest.mark.parametrize(
        "level",
        [
            {"method": "hf"},
            {"xc": "b3lyp"},
            {"xc": "wb97m-v"},
            {"xc": "pbe", "density_fit": True},
            {"xc": "b3lyp", "grid_response": True},
            {"xc": "b3lyp", "dispersion": "d3bj"},
            {"method": "hf", "solvent": "water"},
            {"xc": "pbe", "density_fit": True, "solvent": 10.0, "solvent_model": "c-pcm"},
            {"xc": "b3lyp", "solvent": "water", "solvent_model": "smd"},
        ],
    )
    def test_results_are_those_of_the_cpu(self, make, level):
        setting = {**level, "basis": "def2-svp", "conv_tol": 1e-12}
        there = PySCFCalculator(**setting, device="cuda")
        found = along(make(), there)
        assert device.is_on_gpu(there.mean_field)
        assert there.last_call.attempt == "extrapolated density"
        expected = along(make(), PySCFCalculator(**setting, device="cpu"))
        tolerance = {"energy": 1e-7 * HARTREE, "forces": 5e-5, "dipole": 1e-5, "charges": 1e-5}
        for one, other in zip(found, expected, strict=True):
            for name in PROPERTIES:
                np.testing.assert_allclose(
                    one[name], other[name], rtol=0, atol=tolerance[name], err_msg=name
                )

    @pytest.mark.parametrize("make", [water, amidogen])
    @pytest.mark.parametrize("level", [{"method": "hf"}, {"xc": "pbe"}])
    def test_the_second_order_solver(self, monkeypatch, make, level):
        from kstep_integrators.calculators.pyscf import ladder

        setting = {**level, "basis": "def2-svp", "conv_tol": 1e-12}
        (expected,) = along(make(), PySCFCalculator(**setting, device="cpu"), steps=1)
        monkeypatch.setattr(ladder, "LADDER", ladder.LADDER[-1:])
        calculator = PySCFCalculator(**setting, device="cuda")
        (found,) = along(make(), calculator, steps=1)
        assert calculator.last_call.attempt == "second-order solver"
        assert found["energy"] == pytest.approx(expected["energy"], abs=1e-7 * HARTREE)
        np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=5e-5)

    @pytest.mark.parametrize("method", ["RHF", "RKS"])
    def test_back_to_the_cpu_and_through_a_pickle(self, method):
        given = mean_field(method, **({"xc": "pbe"} if method == "RKS" else {})).to_gpu()
        calculator = PySCFCalculator(given, device="cuda")
        (expected,) = along(water(), calculator, steps=1)
        stored = pickle.dumps(calculator)
        assert b"gpu4pyscf" not in stored
        assert b"cupy" not in stored
        read = pickle.loads(stored)  # noqa: S301 - our own
        read.set(device="cpu")
        (found,) = along(water(), read, steps=1)
        assert not device.is_on_gpu(read.mean_field)
        assert found["energy"] == pytest.approx(expected["energy"], abs=1e-6)

    def test_restricted_open_shells_run_on_the_cpu(self):
        calculator = PySCFCalculator(method="hf", unrestricted=False, **SMALL)
        along(amidogen(), calculator, steps=1)
        assert not device.is_on_gpu(calculator.mean_field)

    def test_memory_does_not_grow(self):
        import cupy

        calculator = PySCFCalculator(xc="pbe", **SMALL, device="cuda")
        along(water(), calculator, steps=3)
        before = cupy.get_default_memory_pool().total_bytes()
        along(water(), calculator, steps=20)
        assert cupy.get_default_memory_pool().total_bytes() <= before + 2**24
