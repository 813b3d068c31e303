"""The network's forces by a compiled kernel on the CPU."""

from kstep_integrators.nn.native.library import NativeLibrary, native_library, native_missing

__all__ = ["NativeLibrary", "native_library", "native_missing"]
