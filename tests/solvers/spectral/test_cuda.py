"""On CUDA: the same values as on the CPU, and steps replayed as a graph equal to eager ones."""

import pytest
import torch

import pdeml
from pdeml import problems

pytestmark = pytest.mark.gpu


def kuramoto_sivashinsky(device, dtype="float64"):
    step = pdeml.Stepper(problems.kuramoto_sivashinsky(), 256, dt=0.25, device=device, dtype=dtype)
    x = torch.linspace(0, 2 * torch.pi, 257, dtype=torch.float64)[:-1]
    start = torch.stack([torch.cos((i + 1) * x) for i in range(4)])[:, None]
    return step, start.to(device, getattr(torch, dtype))


def vorticity(device):
    step = pdeml.Stepper(problems.navier_stokes_vorticity(), 64, dt=0.01, device=device)
    start = torch.randn((2, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    start = (start - start.mean((-2, -1), keepdim=True)).to(torch.float64)
    return step, start.to(device)


@pytest.mark.parametrize("case", [kuramoto_sivashinsky, vorticity])
def test_cuda_agrees_with_the_cpu(case):
    (on_cpu, start), (on_cuda, copy) = case("cpu"), case("cuda")
    expected = on_cpu.rollout(start, 20, every=20)
    found = on_cuda.rollout(copy, 20, every=20, graph=False)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", [kuramoto_sivashinsky, vorticity])
def test_a_replayed_graph_takes_the_same_steps(case):
    step, start = case("cuda")
    eager = step.rollout(start, 100, every=50, graph=False)
    replayed = step.rollout(start, 100, every=50, graph=True)
    torch.testing.assert_close(replayed, eager, rtol=1e-12, atol=1e-12)
