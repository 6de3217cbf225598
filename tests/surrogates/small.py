"""A small convolutional model, and data for it."""

import numpy as np
import torch
from torch import nn

from pdeml.data import Axis, Writer
from pdeml.data import open as open_dataset

NAME = "small"
HOME = ("tests.surrogates.small", "SmallConv")


class SmallConv(nn.Module):
    """Circular convolutions, and one Fourier layer with a complex weight."""

    def __init__(self, in_channels, out_channels, spatial_dims=1, width=6, dropout=0.0):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.spatial_dims, self.any_resolution = spatial_dims, True
        self.config = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "spatial_dims": spatial_dims,
            "width": width,
            "dropout": dropout,
        }
        conv = (nn.Conv1d, nn.Conv2d)[spatial_dims - 1]
        self.first = conv(in_channels, width, 5, padding=2, padding_mode="circular")
        self.last = conv(width, out_channels, 5, padding=2, padding_mode="circular")
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(0.1 * torch.randn(width, 4, dtype=torch.cfloat))

    def forward(self, x, *, coords=None, params=None, t=None):
        if params is not None:
            constant = params.reshape(*params.shape, *(1,) * self.spatial_dims)
            x = torch.cat([x, constant.expand(*params.shape, *x.shape[2:])], 1)
        y = self.dropout(torch.tanh(self.first(x)))
        with torch.autocast(x.device.type, enabled=False):
            z = y.to(self.first.weight.dtype)
            modes = torch.fft.rfft(z, norm="forward")
            low = torch.zeros_like(modes)
            weight = self.weight.reshape(-1, *(1,) * (self.spatial_dims - 1), 4)
            low[..., :4] = modes[..., :4] * weight
            z = torch.fft.irfft(low, n=z.shape[-1], norm="forward")
        return self.last(y + z)


def waves(path, samples=12, times=8, points=32, *, nan=None, scale=1.0, seed=0, splits=None):
    """Travelling waves u = a sin(k (x − c t) + φ) with speed c, one parameter."""
    x = np.arange(points) / points * 2 * np.pi
    rng = np.random.default_rng(seed)
    with Writer(
        path,
        fields={"u": "f4"},
        times=0.1 * np.arange(times),
        axes=[Axis("x", x, periodic=True, length=2 * np.pi)],
        samples=samples,
        parameters=["c"],
        seed=seed,
        durability="process",
        splits=splits,
    ) as writer:
        for ids in writer.pending(samples):
            c = rng.uniform(0.5, 1.5, len(ids))
            a, phase = rng.uniform(0.5, 1.5, len(ids)), rng.uniform(0, 6, len(ids))
            k = rng.integers(1, 4, len(ids))
            t = 0.1 * np.arange(times)
            u = a[:, None, None] * np.sin(
                k[:, None, None] * (x - c[:, None, None] * t[:, None]) + phase[:, None, None]
            )
            u = scale * u
            if nan is not None:
                u[nan, 3, 5] = np.nan
            writer.commit(ids, u=u, c=c)
    return open_dataset(path)
