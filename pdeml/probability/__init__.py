"""Random fields as initial values and coefficients.

Every function returns ``(samples, 1, *shape)``: batch, channel, space. Points are those of the
spectral solver, j/n on the unit box (left end included, right end excluded), unless said otherwise;
the values may be placed on a box of any length. A sample depends on the seed and its own index
only, and its Fourier coefficients on the wave vector only: more samples, another order or a finer
grid leave it as it is.
"""

from pdeml.probability.random_fields import (
    darcy_field,
    diffused_noise,
    fno_burgers,
    fno_darcy,
    fno_navier_stokes,
    gaussian_random_field,
    mno_kuramoto_sivashinsky,
    power_law_field,
)
from pdeml.probability.samples import Sampling
from pdeml.probability.series import gaussian_blobs, sine_sums, truncated_fourier

__all__ = [
    "Sampling",
    "darcy_field",
    "diffused_noise",
    "fno_burgers",
    "fno_darcy",
    "fno_navier_stokes",
    "gaussian_blobs",
    "gaussian_random_field",
    "mno_kuramoto_sivashinsky",
    "power_law_field",
    "sine_sums",
    "truncated_fourier",
]
