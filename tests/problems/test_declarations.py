"""What each periodic problem declares, against formulas that are written out by hand.

The fields are random trigonometric polynomials, whose derivatives are known in closed form; the
right formula for a residual is typed again here, component by component.
"""

import math

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.operators.conditions import Initial
from pdeml.operators.expressions import Program

N = 64
WAVES = 4
NAMES = ("x", "y", "z")


class Waves:
    """f = Σ_j A_j cos(k_j·x + ω_j t + φ_j): ``f(x=2, t=1)`` is ∂²_x ∂_t f at the points."""

    def __init__(self, points, coordinates, seed, dtype):
        g = torch.Generator().manual_seed(seed)
        self.coordinates, self.points = coordinates, points
        d = len(coordinates)
        self.k = torch.randint(-2, 3, (d, WAVES), generator=g).double() + 0.25
        self.phase = 6.28 * torch.rand(WAVES, generator=g, dtype=torch.float64)
        self.size = torch.randn(WAVES, generator=g, dtype=torch.float64)
        if dtype is complex:
            self.size = torch.complex(self.size, torch.randn(WAVES, generator=g).double())

    def __call__(self, **orders):
        factor, turns = self.size, 0
        for name, order in orders.items():
            factor = factor * self.k[self.coordinates.index(name)] ** order
            turns += order
        angle = self.points @ self.k + self.phase + turns * math.pi / 2
        return (factor * torch.cos(angle)).sum(1)


def waves_of(problem, points):
    coordinates = [c.name for c in problem.coordinates]
    return {
        f.func.__name__: Waves(points, coordinates, i, float if f.is_real else complex)
        for i, f in enumerate(problem.fields)
    }


def declared(problem, points, fields):
    """The residuals of the declaration with its atoms replaced by values."""
    atoms = sorted(set().union(*(r.atoms(sp.Derivative) for r in problem.residuals)), key=str)
    values = {}
    for atom in (*atoms, *problem.fields):
        field = atom.expr if isinstance(atom, sp.Derivative) else atom
        orders = {c.name: int(n) for c, n in getattr(atom, "variable_count", ())}
        values[atom] = fields[field.func.__name__](**orders)
    stand_ins = {atom: sp.Dummy() for atom in values}
    program = Program(
        [r.xreplace(stand_ins) for r in problem.residuals],
        [*stand_ins.values(), *problem.coordinates, *problem.values],
    )
    return program(*values.values(), *points.unbind(1), *problem.values.values())


def lap(f, dim):
    return sum(f(**{c: 2}) for c in NAMES[:dim])


def fourth(f, dim):
    """Δ²f."""
    pure = f(x=4)
    if dim > 1:
        pure = pure + f(y=4) + 2 * f(x=2, y=2)
    if dim > 2:
        pure = pure + f(z=4) + 2 * f(y=2, z=2) + 2 * f(x=2, z=2)
    return pure


def grad2(f, dim):
    return sum(f(**{c: 1}) ** 2 for c in NAMES[:dim])


def along(u, f, dim):
    """(u·∇)f with u the values of the components."""
    return sum(u[i] * f(**{NAMES[i]: 1}) for i in range(dim))


def convective(dim, F, rate):
    u = [F[name]() for name in "uvw"[:dim]]
    return [F[n](t=1) + along(u, F[n], dim) - rate * lap(F[n], dim) for n in "uvw"[:dim]]


def navier_stokes(dim, F, P):
    moved = convective(dim, F, P["nu"])
    balance = [r + F["p"](**{NAMES[i]: 1}) for i, r in enumerate(moved)]
    return [*balance, sum(F[n](**{NAMES[i]: 1}) for i, n in enumerate("uvw"[:dim]))]


def vorticity(F, P, x):
    w, s = F["omega"], F["psi"]
    u, v = s(y=1), -s(x=1)
    moved = w(t=1) + u * w(x=1) + v * w(y=1) + P.get("beta", 0) * v + P.get("mu", 0) * w()
    force = P.get("f", 0) * 2**0.5 * torch.sin(2 * math.pi * (x[:, 0] + x[:, 1]) + math.pi / 4)
    return [moved - P["nu"] * (w(x=2) + w(y=2)) - force, s(x=2) + s(y=2) + w()]


def squared(a):
    return a.real**2 + a.imag**2


def schroedinger(dim, F, kappa):
    h = F["h"]
    return [1j * h(t=1) + lap(h, dim) / 2 + kappa * squared(h()) * h()]


def ginzburg_landau(dim, F, P):
    A = F["A"]
    diffusive = complex(1.0, P["c1"]) * lap(A, dim)
    return [A(t=1) - A() - diffusive + (1 + 1j * P["c2"]) * squared(A()) * A()]


def gray_scott(dim, F, P):
    u, v = F["u"], F["v"]
    eaten = u() * v() ** 2
    return [
        u(t=1) - P["D_u"] * lap(u, dim) + eaten - P["F"] + P["F"] * u(),
        v(t=1) - P["D_v"] * lap(v, dim) - eaten + P["F"] * v() + P["k"] * v(),
    ]


def cahn_hilliard(dim, F, P):
    u = F["u"]
    cubed = 3 * u() ** 2 * lap(u, dim) + 6 * u() * grad2(u, dim)
    return [u(t=1) - cubed + lap(u, dim) + P["gamma"] * fourth(u, dim)]


def swift_hohenberg(dim, F, P):
    u = F["u"]
    linear = P["r"] * u() - (u() + 2 * lap(u, dim) + fourth(u, dim))
    return [u(t=1) - linear - P["g"] * u() ** 2 + u() ** 3]


def front(dim, F):
    u = F["u"]
    steep = u() * u(x=1) if dim == 1 else grad2(u, dim) / 2
    return [u(t=1) + steep + lap(u, dim) + fourth(u, dim)]


def slope(dim, F):
    names = "uvw"[:dim]
    return [
        F[n](t=1)
        + sum(F[m]() * F[m](**{NAMES[i]: 1}) for m in names)
        + lap(F[n], dim)
        + fourth(F[n], dim)
        for i, n in enumerate(names)
    ]


def kdv_like(F, a, b, nu=0.0, zeta=0.0):
    u = F["u"]
    return [u(t=1) + a * u() * u(x=1) + b * u(x=3) - nu * u(x=2) + zeta * u(x=4)]


def single(dim, F, P, order):
    """One component, all terms on the right: the normalised form of APEBench."""
    u, axes = F["u"], NAMES[:dim]
    total = P.get("alpha_0", 0) * u() + P.get("beta_0", 0) * u() ** 2
    for j in range(1, order + 1):
        total = total + P.get(f"alpha_{j}", 0) * sum(u(**{c: j}) for c in axes)
    total = total + P.get("beta_1", 0) * u() * sum(u(**{c: 1}) for c in axes)
    return [u(t=1) - total - P.get("beta_2", 0) * grad2(u, dim) / 2]


def cases(name, dims, formula):
    return [(name, dim, formula) for dim in dims]


ALL = (1, 2, 3)
CASES = [
    ("burgers_gaussian", None, lambda d, F, P, x: kdv_like(F, 1, 0, P["nu"])),
    *cases("vector_burgers", ALL, lambda d, F, P, x: convective(d, F, P["nu"])),
    *cases(
        "allen_cahn_waves",
        ALL,
        lambda d, F, P, x: [
            F["u"](t=1) - P["epsilon"] ** 2 * lap(F["u"], d) - F["u"]() * (1 - F["u"]() ** 2)
        ],
    ),
    *cases(
        "fisher_kpp",
        ALL,
        lambda d, F, P, x: [
            F["u"](t=1) - P["D"] * lap(F["u"], d) - P["r"] * F["u"]() + P["r"] * F["u"]() ** 2
        ],
    ),
    *cases("diffusion", ALL, lambda d, F, P, x: [F["u"](t=1) - P["D"] * lap(F["u"], d)]),
    *cases(
        "advection",
        ALL,
        lambda d, F, P, x: [F["u"](t=1) + P["c"] * sum(F["u"](**{c: 1}) for c in NAMES[:d])],
    ),
    *cases(
        "dispersion",
        ALL,
        lambda d, F, P, x: [F["u"](t=1) + P["b"] * sum(F["u"](**{c: 3}) for c in NAMES[:d])],
    ),
    *cases("periodic_wave", ALL, lambda d, F, P, x: [F["u"](t=2) - P["c"] ** 2 * lap(F["u"], d)]),
    ("kdv", None, lambda d, F, P, x: kdv_like(F, 1, P["delta"] ** 2)),
    ("kdv_burgers", None, lambda d, F, P, x: kdv_like(F, P["a"], P["b"], P["nu"], P["zeta"])),
    ("kdv_soliton", None, lambda d, F, P, x: kdv_like(F, 6, 1)),
    ("kdv_two_solitons", None, lambda d, F, P, x: kdv_like(F, 1, 1)),
    *cases("nonlinear_schroedinger", ALL, lambda d, F, P, x: schroedinger(d, F, P["kappa"])),
    ("schroedinger_soliton", None, lambda d, F, P, x: schroedinger(1, F, 1.0)),
    *cases("kuramoto_sivashinsky", ALL, lambda d, F, P, x: front(d, F)),
    *cases("kuramoto_sivashinsky_velocity", ALL, lambda d, F, P, x: slope(d, F)),
    *cases("swift_hohenberg", ALL, lambda d, F, P, x: swift_hohenberg(d, F, P)),
    *cases("cahn_hilliard", ALL, lambda d, F, P, x: cahn_hilliard(d, F, P)),
    *cases("gray_scott", ALL, lambda d, F, P, x: gray_scott(d, F, P)),
    *cases("complex_ginzburg_landau", ALL, lambda d, F, P, x: ginzburg_landau(d, F, P)),
    ("navier_stokes_vorticity", None, lambda d, F, P, x: vorticity(F, P, x)),
    ("taylor_green_vortex", None, lambda d, F, P, x: vorticity(F, P, x)),
    ("rossby_wave", None, lambda d, F, P, x: vorticity(F, P, x)),
    *cases("navier_stokes", (2, 3), lambda d, F, P, x: navier_stokes(d, F, P)),
    ("abc_flow", None, lambda d, F, P, x: navier_stokes(3, F, P)),
    *cases("apebench_burgers", ALL, lambda d, F, P, x: single(d, F, P, 2)),
    *cases("apebench_kdv", ALL, lambda d, F, P, x: single(d, F, P, 4)),
    *cases("apebench_kuramoto_sivashinsky", ALL, lambda d, F, P, x: single(d, F, P, 4)),
    *cases("apebench_fisher", ALL, lambda d, F, P, x: single(d, F, P, 2)),
]


@pytest.mark.parametrize("name, dim, formula", CASES, ids=[f"{n} {d}" for n, d, _ in CASES])
def test_the_declared_equations_are_the_ones_written_by_hand(name, dim, formula):
    """On random waves, with every parameter at a random value, so that no term can hide."""
    problem = problems.get(name)() if dim is None else problems.get(name)(dim=dim)
    g = torch.Generator().manual_seed(7)
    values = {
        p.name: 3 if p.is_integer else 0.3 + 0.6 * float(torch.rand((), generator=g))
        for p in problem.parameters
    }
    problem = problem.with_parameters(values)
    points = torch.rand((N, len(problem.coordinates)), generator=g, dtype=torch.float64)
    fields = waves_of(problem, points)
    expected = formula(dim, fields, values, points)
    found = declared(problem, points, fields)
    assert len(found) == len(expected) == len(problem.fields)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-12 * theirs.abs().max()


def test_every_periodic_problem_is_checked():
    periodic = {
        name
        for name in problems.names()
        if (problem := problems.get(name)()).time is not None
        and all(problem.periodic_axes(f) == problem.space_coordinates for f in problem.fields)
    }
    others = {"burgers", "allen_cahn", "convection", "convection_diffusion"}
    assert periodic - others == {name for name, _, _ in CASES}
    assert set(problems.names()) - periodic == {
        "heat",
        "wave",
        "klein_gordon",
        "helmholtz",
        "poisson",
        "poisson_lshape",
        "nonlinear_diffusion",
        "stokes",
        "linear_elasticity",
        "darcy",
        "fitzhugh_nagumo",
        "lid_driven_cavity",
        "cylinder_channel",
        "plate_with_hole",
    }


PI = math.pi


def sech(a):
    return 1 / math.cosh(a)


def front_height(k, *x):
    d = len(x)
    return sum(math.cos(k * x[i]) * (1 + math.sin(k * x[(i + 1) % d])) for i in range(d)) / d


def start_of_vorticity(x, y):
    return (
        math.sin(2 * PI * (x + 2 * y))
        + math.cos(2 * PI * (3 * x - y))
        + 0.5 * math.sin(2 * PI * (2 * x + 3 * y))
    )


def bump(*x):
    return math.exp(-sum(((c - 1.25) / 0.1) ** 2 for c in x))


STARTS = {
    # name, arguments: (low end, length, end of time, starts by field)
    ("burgers_gaussian", ()): (
        -PI,
        2 * PI,
        1,
        {"u": lambda x: math.exp(-10 * math.sin(x / 2) ** 2)},
    ),
    ("allen_cahn_waves", (1,)): (
        0,
        2 * PI,
        5,
        {"u": lambda x: 0.1 + 0.4 * math.sin(x) + 0.3 * math.cos(3 * x)},
    ),
    ("allen_cahn_waves", (2,)): (
        0,
        2 * PI,
        5,
        {
            "u": lambda x, y: (
                0.1 + 0.4 * math.sin(x) * math.sin(y) + 0.15 * (math.cos(3 * x) + math.cos(3 * y))
            )
        },
    ),
    ("fisher_kpp", (2,)): (
        0,
        1,
        2,
        {"u": lambda x, y: math.exp(-20 * (math.sin(PI * x) ** 2 + math.sin(PI * y) ** 2))},
    ),
    ("kdv_burgers", ()): (0, 20, 0.5, {"u": lambda x: math.exp(math.sin(2 * PI * x / 20)) - 1}),
    ("kdv_two_solitons", ()): (
        -PI,
        2 * PI,
        0.006,
        {
            "u": lambda x: 1875 * sech(12.5 * (x + 2)) ** 2 + 768 * sech(8 * (x + 1)) ** 2,
        },
    ),
    ("nonlinear_schroedinger", (1,)): (-5, 10, PI / 2, {"h": lambda x: 2 * sech(x)}),
    ("nonlinear_schroedinger", (3,)): (
        -5,
        10,
        PI / 2,
        {"h": lambda x, y, z: math.exp(-x * x - y * y - z * z)},
    ),
    ("kuramoto_sivashinsky", (1,)): (
        0,
        32 * PI,
        60,
        {"u": lambda x: math.cos(x / 16) * (1 + math.sin(x / 16))},
    ),
    ("kuramoto_sivashinsky", (3, 22.0, 9.5)): (
        0,
        22,
        9.5,
        {"u": lambda *x: front_height(2 * PI / 22, *x)},
    ),
    ("swift_hohenberg", (2,)): (
        0,
        10 * PI,
        10,
        {
            "u": lambda x, y: (
                0.1 * math.cos(x) * math.cos(y) + 0.025 * (math.sin(0.6 * x) + math.sin(0.6 * y))
            )
        },
    ),
    ("cahn_hilliard", (1,)): (
        0,
        2 * PI,
        1,
        {"u": lambda x: 0.1 * math.cos(2 * x) + 0.05 * math.sin(5 * x)},
    ),
    ("gray_scott", (1,)): (
        0,
        2.5,
        50,
        {"u": lambda x: 1 - bump(x) / 2, "v": lambda x: bump(x) / 4},
    ),
    ("gray_scott", (3,)): (
        0,
        2.5,
        50,
        {"u": lambda *x: 1 - bump(*x) / 2, "v": lambda *x: bump(*x) / 4},
    ),
    ("complex_ginzburg_landau", (1,)): (
        0,
        32 * PI,
        20,
        {"A": lambda x: 0.5 * math.cos(x / 16) + 0.5j * math.sin(x / 8)},
    ),
    ("navier_stokes_vorticity", ()): (0, 1, 5, {"omega": start_of_vorticity}),
    ("navier_stokes", (3,)): (
        0,
        2 * PI,
        2,
        {
            "u": lambda x, y, z: math.sin(x) * math.cos(y) * math.cos(z),
            "v": lambda x, y, z: -math.cos(x) * math.sin(y) * math.cos(z),
            "w": lambda x, y, z: 0.0,
        },
    ),
    ("apebench_kdv", (160, 2)): (
        0,
        1,
        50,
        {"u": lambda x, y: math.sin(2 * PI * x) * math.sin(2 * PI * y)},
    ),
    ("apebench_fisher", (160, 1, 7)): (0, 1, 7, {"u": lambda x: math.sin(PI * x) ** 2}),
}


@pytest.mark.parametrize("name, arguments", STARTS)
def test_box_times_and_starts_are_the_documented_ones(name, arguments):
    low, length, end, starts = STARTS[name, arguments]
    problem = problems.get(name)(*arguments)
    dim = len(problem.space_coordinates)
    lower, upper = problem.domain.bounds
    assert lower == (*(low,) * dim, 0)
    assert upper == pytest.approx((*(low + length,) * dim, end), rel=1e-14)
    given = {c.field.func.__name__: c.value for c in problem.conditions if isinstance(c, Initial)}
    assert set(given) == set(starts)
    points = low + length * torch.rand(20, dim, generator=torch.Generator().manual_seed(1)).double()
    for field, formula in starts.items():
        (value,) = Program([given[field]], [*problem.space_coordinates, *problem.values])(
            *points.unbind(1), *problem.values.values()
        )
        expected = torch.tensor([formula(*p) for p in points.tolist()])
        value = torch.as_tensor(value, dtype=expected.dtype)
        assert (value - expected).abs().max() < 1e-11 * (1 + expected.abs().max())


@pytest.mark.parametrize("dim", ALL)
def test_the_slope_form_is_the_gradient_of_the_front(dim):
    """Its start and, for d > 1, its equations: the residual for ∇φ is the gradient of φ's."""
    front_problem = problems.kuramoto_sivashinsky(dim=dim, length=10)
    slope_problem = problems.kuramoto_sivashinsky_velocity(dim=dim, length=10)
    x = slope_problem.space_coordinates
    (height,) = (c.value for c in front_problem.conditions if isinstance(c, Initial))
    starts = [c.value for c in slope_problem.conditions if isinstance(c, Initial)]
    assert all(sp.expand(s - height.diff(c)) == 0 for s, c in zip(starts, x, strict=True))
    if dim > 1:
        (phi,) = front_problem.fields
        to_gradient = dict(zip(slope_problem.fields, (phi.diff(c) for c in x), strict=True))
        (residual,) = front_problem.residuals
        for part, c in zip(slope_problem.residuals, x, strict=True):
            assert sp.expand(part.subs(to_gradient).doit() - residual.diff(c).doit()) == 0


def test_plane_waves_solve_ginzburg_landau():
    """The docstring's family, for every q, c₁ and c₂."""
    problem = problems.complex_ginzburg_landau()
    (A,), (x, t) = problem.fields, problem.coordinates
    q = sp.Symbol("q", real=True)
    c1, c2 = (problem.find_parameter(n) for n in ("c1", "c2"))
    size = sp.Symbol("a", positive=True)  # √(1 − q²)
    wave = size * sp.exp(sp.I * (q * x - (c2 + (c1 - c2) * q**2) * t))
    left = problem.residuals[0].subs(A, wave).doit() / wave
    assert sp.expand(sp.simplify(left).subs(size, sp.sqrt(1 - q**2))) == 0
