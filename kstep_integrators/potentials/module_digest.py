"""Identity of a PyTorch module: what it is, its weights and its settings."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import torch

from kstep_integrators.physics.content_text import code_of_class, text_of, version_of

__all__ = ["module_digest"]

_PLAIN: Final = (bool, int, float, complex, str, torch.Tensor, torch.dtype)
_OF_NN_MODULE: Final = frozenset(vars(torch.nn.Module()))
"""Attributes that every module has; parameters, buffers and submodules are walked by themselves."""


def module_digest(module: torch.nn.Module) -> str:
    """The SHA-256 of a module, the same in every process and on every device.

    Of each submodule count its class (with the version of its package, or its code where no package
    has one), its parameters and buffers, and those of its attributes that are numbers, text or
    tensors. A module of TorchScript is known by what it would be saved as.

    Parameters
    ----------
    module : torch.nn.Module
    """
    digest = hashlib.sha256()
    _add(digest, module, "")
    return digest.hexdigest()


def _add(digest: Any, module: torch.nn.Module, name: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        saved: bytes = module.save_to_buffer()
        digest.update(f"{name}: ".encode() + saved)
        return
    kind = type(module)
    digest.update(f"{name}: {kind.__qualname__}{version_of(kind)}{code_of_class(kind)}\n".encode())
    held = {
        **{key: one for key, one in vars(module).items() if key not in _OF_NN_MODULE},
        **dict(module.named_parameters(recurse=False)),
        **dict(module.named_buffers(recurse=False)),
    }
    for key, value in sorted(held.items()):
        if isinstance(value, torch.Tensor):
            tensor = value.detach().cpu().contiguous()
            shape = f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)} "
            digest.update(shape.encode() + bytes(tensor.view(-1).view(torch.uint8).numpy()))
        elif isinstance(value, _PLAIN):
            digest.update(f"{name}.{key} {text_of(str(value))}\n".encode())
    for key, child in sorted(module.named_children()):
        _add(digest, child, f"{name}.{key}")
