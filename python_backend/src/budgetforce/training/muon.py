# SPDX-License-Identifier: Apache-2.0
"""The optimizer Muon for matrices, with AdamW for all other parameters.

Muon (K. Jordan et al., 2024): momentum, orthogonalised by five Newton-Schulz iterations. ``torch.optim.Muon`` iterates in
bfloat16, which a CPU emulates, three times slower than float32; this one iterates in float32, over all matrices of a shape
at once. Under FSDP2 every process orthogonalises whole matrices and keeps its part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from budgetforce.training.recipe import OptimSettings

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, by Keller Jordan
NUM_ITERATIONS = 5


class MuonAdamW(torch.optim.AdamW):
    """AdamW, except for parameter groups with ``is_muon``, whose matrices Muon updates."""

    param_groups: list[dict[str, Any]]

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        super().__init__([{"is_muon": False, "momentum": 0.0, **group} for group in groups], **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all parameters that have a gradient."""
        assert closure is None
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["is_muon"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["is_muon"]:
                self._muon(group)

    def _muon(self, group: dict[str, Any]) -> None:
        for parameters in _by_shape(group["params"]):
            updates = torch.stack([self._with_momentum(parameter, group["momentum"]) for parameter in parameters])
            updates = orthogonalised(updates)
            scale = max(1.0, updates.size(-2) / updates.size(-1)) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(_split_like(update, parameter), alpha=-group["lr"] * scale)

    def _with_momentum(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        """Return Nesterov's momentum of a parameter's gradient as a whole matrix."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["step"] = torch.zeros(())  # never counted; AdamW looks for it in every state that it loads
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        buffer: torch.Tensor = state["momentum_buffer"]
        buffer.lerp_(parameter.grad, 1 - momentum)
        update = parameter.grad.lerp(buffer, momentum)
        return update.full_tensor() if isinstance(update, DTensor) else update


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices of shape (n, rows, columns), each with all singular values moved to about 1."""
    a, b, c = COEFFICIENTS
    is_tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        square = x @ x.mT
        x = a * x + torch.baddbmm(square, square, square, beta=b, alpha=c) @ x
    return x.mT if is_tall else x


def _by_shape(parameters: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    shapes: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            shapes[parameter.shape].append(parameter)
    yield from shapes.values()


def _split_like(update: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    if not isinstance(parameter, DTensor):
        return update
    return distribute_tensor(update, parameter.device_mesh, parameter.placements, src_data_rank=None)


def make_optimizer(model: torch.nn.Module, optim: OptimSettings) -> torch.optim.Optimizer:
    """Return the optimizer of a model. Norms and biases have no weight decay; Muon, if named, gets the matrices of the layers."""
    named = list(model.named_parameters())
    in_layers = [parameter for name, parameter in named if parameter.ndim == 2 and ".layers." in name]
    embeddings = [parameter for name, parameter in named if parameter.ndim == 2 and ".layers." not in name]
    vectors = [parameter for _, parameter in named if parameter.ndim < 2]
    matrices = {"params": in_layers, "weight_decay": optim.weight_decay}
    if optim.name == "muon+adamw":
        matrices |= {"lr": optim.matrix_lr, "weight_decay": optim.matrix_weight_decay, "momentum": optim.matrix_momentum, "is_muon": True}
    groups = [{"params": embeddings, "weight_decay": optim.weight_decay}, {"params": vectors, "weight_decay": 0.0}, matrices]
    beta1, beta2 = optim.betas
    return MuonAdamW(groups, lr=optim.lr, betas=(beta1, beta2), eps=optim.eps)
