"""Energy and forces of an energy network through ``torch.compile``.

A force is traced once, differentiation included, for fixed shapes, and its operations are fused:
several times faster than one call after the other where an operation costs little more than its
call.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kstep_integrators.nn.common.graph import Graph
from kstep_integrators.nn.energy.forces import energy_and_forces
from kstep_integrators.nn.energy.network import EnergyNetwork
from kstep_integrators.notices import taking_long

__all__ = ["CompiledForces", "have_compiler"]


def have_compiler() -> bool:
    """Look for a C++ compiler that ``torch.compile`` can use."""
    return any(shutil.which(name) for name in ("g++", "c++", "clang++"))


class CompiledForces:
    """:func:`~kstep_integrators.nn.energy.forces.energy_and_forces`, compiled for fixed shapes.

    Traced and compiled in the first call, which takes a minute or so; seconds, where an earlier
    process has compiled the same for the same shapes: PyTorch keeps what it compiles in a folder,
    that of the environment variable ``TORCHINDUCTOR_CACHE_DIR`` or one for temporary files.

    Parameters
    ----------
    network : EnergyNetwork
        Its weights are taken as they are now.
    trainable : bool
        Whether gradients with respect to the weights are wanted.

    Raises
    ------
    RuntimeError
        If the network is on a CPU and no C++ compiler is found.
    """

    def __init__(self, network: EnergyNetwork, trainable: bool = False) -> None:
        weights = dict(network.named_parameters())
        if next(iter(weights.values())).device.type == "cpu" and not have_compiler():
            raise RuntimeError(
                "compiling the force on a CPU needs a C++ compiler (g++ or clang++), none was "
                "found; install one, or pass backend='eager'"
            )
        self.network, self.trainable = network, trainable
        self.shapes = {name: tensor.shape for name, tensor in weights.items()}
        self.weights = self._arguments(weights)
        self._read: Mapping[str, Tensor] | None = None
        self._code = list[Callable[..., tuple[Tensor, Tensor]]]()  # one place for all relatives

    def __call__(
        self, parameters: Mapping[str, Tensor] | None, positions: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor]:
        """Energy and forces.

        Parameters
        ----------
        parameters : mapping of str to Tensor or None
            Weights by name in place of the network's own.
        positions : (B, N, 3) angstrom
            Of the shape, dtype and device of the first call, as is the graph.
        graph : Graph

        Returns
        -------
        energy : (B,) eV
            Per molecule, element shifts not included.
        forces : (B, N, 3) eV/angstrom
        """
        named = parameters or self._read
        weights = self.weights if named is None else self._arguments(named)
        parts = _parts(graph)
        if self._code:
            return self._code[0](weights, positions, *parts)
        molecules, atoms = positions.shape[:2]
        what = f"compiling the force of {molecules} x {atoms} atoms (torch.compile)"
        with taking_long(what, said=not self.trainable):
            self._code.append(self._compiled(weights, positions, *parts))
            return self._code[0](weights, positions, *parts)

    def of(self, network: EnergyNetwork, reading: bool = False) -> CompiledForces:
        """The same code with the weights of another network of the same sizes.

        Parameters
        ----------
        network : EnergyNetwork
        reading : bool
            Read its weights anew in each call, because they change in place.
        """
        other = CompiledForces(network, self.trainable)
        other._code = self._code
        if reading:
            other._read = dict(network.named_parameters())
        return other

    def _arguments(self, weights: Mapping[str, Tensor]) -> list[Tensor]:
        tensors = [weights[name] for name in self.shapes]
        if self.trainable:
            return tensors
        # One input in place of forty: every call checks each of its inputs.
        return [torch.cat([tensor.detach().reshape(-1) for tensor in tensors])]

    def _flat(self, weights: list[Tensor], x: Tensor, *graph: Tensor) -> tuple[Tensor, Tensor]:
        if not self.trainable:
            pieces = weights[0].split([shape.numel() for shape in self.shapes.values()])
            shapes = self.shapes.values()
            weights = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        named = dict(zip(self.shapes, weights, strict=True))
        energy, forces = energy_and_forces(self.network, named, x, Graph(*graph), self.trainable)
        return energy.to(x.dtype).sum(-1), forces

    def _compiled(self, weights: list[Tensor], x: Tensor, *graph: Tensor) -> Any:
        from torch.fx.experimental.proxy_tensor import make_fx

        example = [tensor.detach().requires_grad_(self.trainable) for tensor in weights]
        traced = make_fx(self._flat)(example, x, *graph)
        if self.trainable:
            # Autograd saves the results of sqrt, exp and tanh for the force as detached copies and
            # ties them to the weights again out of the tracer's sight: left in, they would cut
            # terms out of the gradient of the forces.
            for node in list(traced.graph.nodes):
                if node.target is torch.ops.aten.detach.default:
                    node.replace_all_uses_with(node.args[0])
                    traced.graph.erase_node(node)
        traced.graph.eliminate_dead_code()
        traced.recompile()
        # On a CPU the wrapper that calls the fused kernels in turn costs more than they do: have it
        # in C++ too. Training needs the Python wrapper, which can be split into forward and back.
        in_cpp = x.device.type == "cpu" and not self.trainable
        return torch.compile(
            traced, fullgraph=True, dynamic=False, options={"cpp_wrapper": True} if in_cpp else None
        )


def _parts(graph: Graph) -> list[Tensor]:
    whole = (graph.species, graph.atom_mask, graph.pair_mask, graph.index, graph.offsets)
    return [tensor for tensor in whole if tensor is not None]
