"""A problem by jinns, in its own interpreter: worker CASE ARRAYS.npz SECONDS SEED OUT.npz.

jinns's loss of a PDE with a tanh network, Adam (1e-3), then its self-scaled Broyden optimizer for
the rest of the time; periodic axes by cos and sin, conditions as observations, an initial velocity
by the output transform u₀ + t²N. Float64; what XLA needs to compile is not counted.
"""

import importlib.metadata
import itertools
import json
import sys
import time
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jinns
import numpy as np
import optax
from jinns.data._Batchs import ObsBatchDict, PDEStatioBatch

warnings.filterwarnings("ignore")
jax.config.update("jax_enable_x64", True)

ADAM_STEPS, BLOCK = 1000, 20
VERSION = importlib.metadata.version("jinns")

CASE, GIVEN, SECONDS, SEED, OUT = sys.argv[1:]
ARRAYS = {name: jnp.asarray(value) for name, value in np.load(GIVEN).items()}
DIM = ARRAYS["inside"].shape[1]
PERIODS = np.asarray(ARRAYS["periods"]).tolist()


def along(f, axis, order=1):
    """∂ᵏf/∂x_axisᵏ of a function of one point."""
    for _ in range(order):
        f = (lambda g: lambda z: jax.grad(g)(z)[axis])(f)
    return f


def burgers(u, z):
    return along(u, 1)(z) + u(z) * along(u, 0)(z) - 0.01 / jnp.pi * along(u, 0, 2)(z)


def allen_cahn(u, z):
    return along(u, 1)(z) - 1e-4 * along(u, 0, 2)(z) - 5 * (u(z) - u(z) ** 3)


def convection(u, z):
    return along(u, 1)(z) + 30 * along(u, 0)(z)


def kdv(u, z):
    return along(u, 1)(z) + u(z) * along(u, 0)(z) + 0.022**2 * along(u, 0, 3)(z)


def helmholtz(u, z):
    return jnp.trace(jax.hessian(u)(z)) + u(z)


def wave(u, z):
    return along(u, 1, 2)(z) - 4 * along(u, 0, 2)(z)


def klein_gordon(u, z):
    return along(u, 1, 2)(z) - along(u, 0, 2)(z) + u(z) ** 3


def poisson_5d(u, z):
    return -jnp.trace(jax.hessian(u)(z))


OPERATOR = globals()[CASE]


def check():
    """The residual written here is that of the declaration."""

    def wave(z):
        return jnp.sin(z @ ARRAYS["rates"])

    found = jax.vmap(lambda z: OPERATOR(wave, z))(ARRAYS["inside"])[:, None] + ARRAYS["source"]
    np.testing.assert_allclose(found, ARRAYS["probe"], rtol=1e-9, atol=1e-9)


class Equation(jinns.loss.PDEStatio):
    """The residual at one row (point, source): the source is a function of the point."""

    def equation(self, row, u, params):
        value = OPERATOR(lambda z: u(z, params)[0], row[:DIM])
        return jnp.atleast_1d(value + row[DIM])


def inputs_of(z, params):
    """Periodic axes as cos and sin."""
    columns = []
    for axis, period in enumerate(PERIODS):
        if period:
            angle = 2 * jnp.pi * z[axis] / period
            columns += [jnp.cos(angle), jnp.sin(angle)]
        else:
            columns.append(z[axis])
    return jnp.stack(columns)


def start_of(x):
    """Initial values of the two problems with a velocity, which is 0 in both."""
    if CASE == "wave":
        return jnp.sin(jnp.pi * x) + 0.5 * jnp.sin(4 * jnp.pi * x)
    return x


def from_rest(z, value, params):
    return start_of(z[0]) + z[1] ** 2 * value


def main():
    check()
    width = int(ARRAYS["width"])
    key = jax.random.PRNGKey(int(SEED))
    count = DIM + sum(period > 0 for period in PERIODS)
    sizes = [count, width, width, width]
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [(eqx.nn.Linear, a, b), (jax.nn.tanh,)]
    layers.append((eqx.nn.Linear, width, 1))
    network, weights = jinns.nn.PINN_MLP.create(
        key=key,
        eqx_list=tuple(layers),
        eq_type="PDEStatio",
        input_transform=inputs_of,
        output_transform=from_rest if "velocity" in ARRAYS else None,
    )
    params = jinns.parameters.Params(nn_params=weights, eq_params={})
    names = [n for n in ("initial", "dirichlet") if n in ARRAYS]
    if "velocity" in ARRAYS:
        names.remove("initial")  # exact by the output transform
    observed = tuple(
        ObsBatchDict(pinn_in=ARRAYS[n], val=ARRAYS[f"{n}_values"], eq_params=None) for n in names
    )
    loss = jinns.loss.LossPDEStatio(
        u=network,
        dynamic_loss=Equation(),
        params=params,
        obs_slice=(None,) * len(observed) or None,
        loss_weights=jinns.loss.LossWeightsPDEStatio(
            dyn_loss=1.0, observations=(1.0,) * len(observed)
        ),
    )
    batch = PDEStatioBatch(
        domain_batch=jnp.concatenate([ARRAYS["inside"], ARRAYS["source"]], -1),
        border_batch=None,
        obs_batch_dict=observed or None,
    )

    def objective(p):
        return loss(p, batch)[0]

    slope = jax.grad(objective)
    adam = optax.adam(1e-3)
    broyden = jinns.optimizers.scale_by_SSBroyden_family()

    def adam_step(_, carry):
        p, state = carry
        updates, state = adam.update(slope(p), state, p)
        return optax.apply_updates(p, updates), state

    def broyden_step(_, carry):
        p, state = carry
        value, gradient = jax.value_and_grad(objective)(p)
        updates, state = broyden.update(
            gradient,
            state,
            p,
            value=value,
            grad_pt=gradient,
            value_fn=objective,
            grad_fn=slope,
        )
        return optax.apply_updates(p, updates), state

    def block_of(step):
        return jax.jit(lambda carry: jax.lax.fori_loop(0, BLOCK, step, carry))

    adam_block, broyden_block = block_of(adam_step), block_of(broyden_step)
    adam_block(first := (params, adam.init(params)))
    jax.block_until_ready(broyden_block((params, broyden.init(params))))  # both are compiled

    begin = time.perf_counter()
    end = begin + float(SECONDS)
    carry, steps = first, 0
    while steps < ADAM_STEPS and time.perf_counter() < end:
        carry, steps = jax.block_until_ready(adam_block(carry)), steps + BLOCK
    carry = (carry[0], broyden.init(carry[0]))
    best = carry[0]
    while time.perf_counter() < end:
        carry, steps = jax.block_until_ready(broyden_block(carry)), steps + BLOCK
        if not bool(jnp.isfinite(objective(carry[0]))):
            break
        best = carry[0]
    elapsed = time.perf_counter() - begin
    values = jax.vmap(lambda z: network(z, best))(ARRAYS["evaluation"])
    report = {"seconds": elapsed, "iterations": steps, "version": VERSION}
    np.savez(OUT, values=np.asarray(values), report=json.dumps(report))


main()
