"""CuPy and GPU4PySCF where there is no GPU: arrays as strict as CuPy's around PySCF on the CPU.

What returns which kind of array follows GPU4PySCF 1.9: orbitals, occupations, overlaps and density
matrices lie on the device; gradients and dipole moments are numpy's. Stricter than there, a
density to start from has to lie on the device.
"""

from __future__ import annotations

import types

import numpy as np
from pyscf import gto
from pyscf.dft import gen_grid, numint, rks, uks
from pyscf.lib import StreamObject
from pyscf.scf import hf, rohf, uhf

DEVICES = 2


class DeviceArray:
    """An array that numpy cannot touch except through ``get``."""

    __array_ufunc__ = None  # numpy refuses to add, multiply, ... it

    def __init__(self, values):
        self._values = np.array(values)

    def get(self):
        return self._values.copy()

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __float__(self):
        return float(self._values)

    def __int__(self):
        return int(self._values)

    def sum(self):
        return DeviceArray(self._values.sum())

    @property
    def ndim(self):
        return self._values.ndim

    @property
    def shape(self):
        return self._values.shape


class TaggedArray(DeviceArray):
    """What ``make_rdm1`` returns there: a density that carries its orbitals."""

    def __init__(self, values, mo_coeff, mo_occ):
        super().__init__(values)
        self.mo_coeff, self.mo_occ = mo_coeff, mo_occ


class Pool:
    """A memory pool that counts."""

    def __init__(self):
        self.freed = []

    def free_all_blocks(self):
        self.freed.append(Device.current)


class Device:
    """Context of a device; pools free blocks of the current one only."""

    current = 0

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        self._before, Device.current = Device.current, self.number

    def __exit__(self, *args):
        Device.current = self._before


def on_host(value):
    return value.get() if isinstance(value, DeviceArray) else value


def to_cpu(method, out):
    """As in gpu4pyscf/lib/utils.py: it takes along even what PySCF does not know."""
    known = set().union(*(getattr(cls, "_keys", ()) for cls in type(out).__mro__))
    for key, value in vars(method).items():
        if key in known:
            value = value.to_cpu() if hasattr(value, "to_cpu") else on_host(value)
        setattr(out, key, value)
    if hasattr(method, "_numint"):
        out._numint = method._numint.to_cpu()
    return out.reset()


class Mole(gto.Mole):
    __module__ = "gpu4pyscf.gto.mole"

    @classmethod
    def from_cpu(cls, molecule):
        return molecule.view(cls)

    def to_cpu(self):
        return self.view(gto.Mole)


class Grids(gen_grid.Grids):
    __module__ = "gpu4pyscf.dft.gen_grid"

    def to_cpu(self):
        """Like that of FFTDF there, it keeps the other package's molecule."""
        grids = gen_grid.Grids(self.mol)
        grids.level = self.level
        return grids


class NumInt(numint.NumInt):
    __module__ = "gpu4pyscf.dft.numint"

    def to_cpu(self):
        return numint.NumInt()


class Gradients:
    __module__ = "gpu4pyscf.grad.rhf"

    def __init__(self, base):
        self._host = host_of(base).nuc_grad_method()

    def __setattr__(self, name, value):
        if name == "_host":
            super().__setattr__(name, value)
        else:
            setattr(self._host, name, value)

    def kernel(self):
        return np.array(self._host.kernel())


def host_of(method):
    """A view of a method that PySCF can compute with."""
    host = method.view(method.on_cpu)
    for name in ("mo_coeff", "mo_occ", "mo_energy"):
        setattr(host, name, on_host(getattr(method, name)))
    for name in ("damp", "level_shift"):  # None there, 0 here
        setattr(host, name, getattr(method, name) or 0)
    host.callback = None

    def report(local):
        names = ("mo_coeff", "mo_occ", "norm_gorb")
        method.callback({name: DeviceArray(local[name]) for name in names if name in local})

    if method.callback is not None:
        host.callback = report
    return host


def adopt(method, host):
    for name in ("mo_coeff", "mo_occ", "mo_energy"):
        setattr(method, name, DeviceArray(getattr(host, name)))
    method.converged, method.e_tot = host.converged, host.e_tot
    method.scf_summary = host.scf_summary
    if type(method).failures:
        type(method).failures -= 1
        method.converged = False
    return method.e_tot


def require(array, what):
    if not isinstance(array, DeviceArray):
        raise TypeError(f"{what} is a {type(array).__name__}, not an array on the device")
    return array.get()


class Newton(StreamObject):
    """The second-order solver: shares the attributes of the object it was made from."""

    __module__ = "gpu4pyscf.scf.soscf"

    def __init__(self, mean_field):
        vars(self).update(vars(mean_field))
        self._scf = mean_field

    def kernel(self, mo_coeff=None, mo_occ=None, dm0=None):
        host = host_of(self._scf).newton()
        if mo_coeff is not None:
            host.kernel(require(mo_coeff, "mo_coeff"), require(mo_occ, "mo_occ"))
        else:
            host.kernel(dm0=None if dm0 is None else require(dm0, "dm0"))
        return adopt(self, host)

    failures = 0


class OnDevice:
    """What the mean-field classes have in common."""

    damp = None
    level_shift = None
    failures = 0
    """How many of the next kernels claim that they did not converge."""

    def to_gpu(self):
        return self

    def to_cpu(self):
        return to_cpu(self, self.on_cpu(self.mol))

    def reset(self, mol=None):
        super().reset(mol)
        self._opt_gpu = {None: None}
        return self

    def kernel(self, dm0=None):
        if dm0 is None and self.mo_coeff is not None:
            dm0 = self.make_rdm1()
        host = host_of(self)
        host.kernel(dm0=None if dm0 is None else require(dm0, "dm0"))
        self._opt_gpu = {None: DeviceArray(np.zeros(3))}
        return adopt(self, host)

    def make_rdm1(self):
        density = np.asarray(host_of(self).make_rdm1())
        return TaggedArray(density, self.mo_coeff, self.mo_occ)

    def get_ovlp(self, mol=None):
        return DeviceArray(host_of(self).get_ovlp(mol))

    def dip_moment(self, mol=None, dm=None, unit="Debye", origin=None, verbose=3):
        assert mol is dm is origin is None
        return host_of(self).dip_moment(unit=unit, verbose=verbose)

    def nuc_grad_method(self):
        return Gradients(self)

    def newton(self):
        return Newton(self)


class KohnSham(OnDevice):
    def reset(self, mol=None):
        super().reset(mol)
        # An attribute that PySCF does not have.
        self.cphf_grids = Grids(self.mol)
        return self


class RHF(OnDevice, hf.RHF):
    __module__ = "gpu4pyscf.scf.hf"
    on_cpu = hf.RHF


class UHF(OnDevice, uhf.UHF):
    __module__ = "gpu4pyscf.scf.uhf"
    on_cpu = uhf.UHF


class ROHF(OnDevice, rohf.ROHF):
    __module__ = "gpu4pyscf.scf.rohf"
    on_cpu = rohf.ROHF
    nuc_grad_method = NotImplemented  # as there


class RKS(KohnSham, rks.RKS):
    __module__ = "gpu4pyscf.dft.rks"
    on_cpu = rks.RKS
    _keys = {"cphf_grids"}  # noqa: RUF012 - PySCF's own convention


class UKS(KohnSham, uks.UKS):
    __module__ = "gpu4pyscf.dft.uks"
    on_cpu = uks.UKS
    _keys = {"cphf_grids"}  # noqa: RUF012


def modules():
    """Fresh modules by name, for ``sys.modules``."""
    cupy = types.ModuleType("cupy")
    pool, pinned = Pool(), Pool()
    cupy.ndarray = DeviceArray
    cupy.asarray = lambda a: a if isinstance(a, DeviceArray) else DeviceArray(a)
    cupy.asnumpy = on_host
    cupy.arange = lambda n: DeviceArray(np.arange(n))
    cupy.get_default_memory_pool = lambda: pool
    cupy.get_default_pinned_memory_pool = lambda: pinned
    cupy.cuda = types.SimpleNamespace(
        Device=Device,
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: DEVICES,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"Stand-in"},
        ),
    )
    found = {"cupy": cupy, "gpu4pyscf": types.ModuleType("gpu4pyscf")}
    for cls in (Mole, Grids, NumInt, RHF, UHF, ROHF, RKS, UKS):
        package, name = cls.__module__.rsplit(".", 1)
        folder = found.setdefault(package, types.ModuleType(package))
        setattr(found["gpu4pyscf"], package.rsplit(".", 1)[1], folder)
        module = found.setdefault(cls.__module__, types.ModuleType(cls.__module__))
        setattr(folder, name, module)
        setattr(module, cls.__name__, cls)
    return found
