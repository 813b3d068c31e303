"""Native kernel of the network's forces, built with the package; pyproject.toml has all the rest.

One source file becomes one plain shared library for each instruction level of the machine. They
have nothing of Python in them and are loaded by ``kstep_integrators.nn.native.library``. Where they
cannot be built, the package installs and works without them.
"""

import os
import platform
import re
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

PACKAGE = "kstep_integrators.nn.native"
SOURCES = Path(*PACKAGE.split("."), "source")
MAC = sys.platform == "darwin"
SUFFIX = ".dylib" if MAC else ".so"

# Not -ffast-math: with it a NaN passes every check, and loading the library would set flush-to-zero
# for the whole process. These three change no result of a finite calculation, and let loops with
# sqrt, comparisons and signs become vector code. The last two take back what Python was built with.
FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"),
    *("-fno-wrapv", "-g0"),
]
EXPORTS = SOURCES / "exports.map"
NAMES = "-Wl,-exported_symbol,_kstep_*" if MAC else f"-Wl,--version-script={EXPORTS}"
# Also the lowest level names its machine: CXXFLAGS with -march=native must not reach a library that
# is loaded to find out what the CPU can.
LEVELS = {
    "x86_64": {
        "x86_64": ["-march=x86-64", "-mtune=generic"],
        "x86_64_v3": ["-march=x86-64-v3", "-mtune=generic"],
        "x86_64_v4": ["-march=x86-64-v4", "-mtune=generic", "-mprefer-vector-width=512"],
    },
    "arm64": {"arm64": ["-march=armv8-a"]},
}


def target_machine() -> str:
    """Machine that this build is for, in the words of :data:`LEVELS` where they have it."""
    # What is built for: _PYTHON_HOST_PLATFORM of a cross build is in it, as in the wheel's tag.
    from sysconfig import get_platform

    machine = get_platform().rpartition("-")[2]
    if MAC:
        # A Python for two machines builds for two; a library here is of one.
        asked = set(re.findall(r"-arch\s+(\S+)", os.environ.get("ARCHFLAGS", "")))
        machine = asked.pop() if len(asked) == 1 else platform.machine()
        os.environ["ARCHFLAGS"] = f"-arch {machine}"
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)


def kernels(machine: str) -> list[Extension]:
    """Extension of each level; none on Windows, whose usual compiler has no vector types.

    GCC for Windows has them, but keeps AVX registers at addresses of the stack where they fault.
    """
    if sys.platform == "win32" or sys.maxsize < 2**32:
        return []
    return [
        Extension(
            f"{PACKAGE}.kernel_{level}",
            sources=[str(SOURCES / "kernel.cpp")],
            depends=["setup.py", str(EXPORTS), *map(str, sorted(SOURCES.glob("*.h")))],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=["-pthread", NAMES],
            language="c++",
            optional=True,
        )
        for level, flags in LEVELS.get(machine, {}).items()
    ]


class BuildKernels(build_ext):
    """Shared libraries side by side, under plain names, as far as there is a compiler."""

    def finalize_options(self) -> None:
        """Build all at once: each takes one compiler many seconds."""
        super().finalize_options()
        self.parallel = self.parallel or True

    def get_ext_filename(self, fullname: str) -> str:
        """Path of a library below the root of the packages: ``kernel.LEVEL.so``.

        The dot in the name keeps tools that walk through modules from taking it for one.
        """
        folder, level = Path(*PACKAGE.split(".")), fullname.partition("kernel_")[2]
        return str(folder / f"kernel.{level}{SUFFIX}")

    def build_extension(self, ext: Extension) -> None:
        """Compile and link one level, unless its library is newer than all that goes into it."""
        library = self.built_file(ext)
        if not self.force and not newer_group([*ext.sources, *ext.depends], str(library)):
            return
        library.unlink(missing_ok=True)  # if this fails, an old one must not pass for it
        scratch = str(Path(self.build_temp, ext.name))  # the same source for all: objects apart
        objects = self.compiler.compile(
            ext.sources, output_dir=scratch, extra_postargs=ext.extra_compile_args
        )
        self.compiler.link_shared_object(
            objects, str(library), extra_postargs=ext.extra_link_args, target_lang="c++"
        )

    def run(self) -> None:
        """Build, and say what it means if nothing could be built."""
        super().run()
        if self.extensions and not self.built():
            self.warn(
                "the native kernel was not built (see above); networks run in PyTorch, many times "
                "slower on a CPU. Install g++ or clang++ and install again for it"
            )

    def copy_extensions_to_source(self) -> None:
        """Put libraries beside the sources, and take away old ones that could not be built anew."""
        for ext in self.extensions:
            if not self.built_file(ext).is_file():
                Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        super().copy_extensions_to_source()

    def built_file(self, ext: Extension) -> Path:
        """Path of a library as it is built, before it is copied beside the sources."""
        return Path(self.build_lib, self.get_ext_filename(ext.name))

    def built(self) -> bool:
        """True if there is a library of any level."""
        return any(self.built_file(ext).is_file() for ext in self.extensions)


class KernelWheel(bdist_wheel):
    """Wheel of any Python: of this platform if there are libraries in it, else of all."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform of the wheel's name."""
        platform_tag = super().get_tag()[2].replace("universal2", MACHINE)
        built = self.get_finalized_command("build_ext").built()
        return "py3", "none", platform_tag if built else "any"

    def write_wheelfile(self, *args: str, **options: str) -> None:
        """Record of the wheel; only now is it known if it is pure."""
        self.root_is_pure = not self.get_finalized_command("build_ext").built()
        super().write_wheelfile(*args, **options)


MACHINE = target_machine()
setup(
    ext_modules=kernels(MACHINE),
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": KernelWheel},
)
