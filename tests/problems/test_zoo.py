"""Every ready problem: its exact solution solves its own equation and meets its own conditions."""

import math

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.errors import InvalidOption, InvalidProblem
from pdeml.operators.conditions import Dirichlet, Flux, Initial, Periodic
from pdeml.operators.expressions import Program
from pdeml.operators.pde import PDE

VARIANTS = {
    **{name: problems.get(name)() for name in problems.names()},
    "burgers nu=0.2": problems.burgers(0.2),
    "convection c=3": problems.convection(3.0),
    "convection_diffusion other": problems.convection_diffusion(speed=-2.0, diffusivity=0.3),
    "heat dim=3": problems.heat(dim=3, diffusivity=0.05),
    "wave c=1.3": problems.wave(1.3),
    "klein_gordon other": problems.klein_gordon(frequency=1.5, cubic=-2.0),
    "helmholtz other": problems.helmholtz(3, 2, 2.5),
    "poisson dim=1": problems.poisson(1),
    "poisson dim=5": problems.poisson(5),
    "diffusion dim=3": problems.diffusion(dim=3, diffusivity=0.02),
    "advection dim=3": problems.advection(dim=3, speed=-0.6),
    "dispersion dim=2": problems.dispersion(dim=2),
    "dispersion dim=3": problems.dispersion(dim=3, dispersivity=-0.1),
    "periodic_wave dim=2": problems.periodic_wave(dim=2),
    "periodic_wave dim=3": problems.periodic_wave(dim=3, speed=0.7),
    "vector_burgers dim=1": problems.vector_burgers(dim=1, amplitude=-0.5),
    "vector_burgers dim=3": problems.vector_burgers(dim=3, nu=0.05, amplitude=0.6),
    "kdv_soliton c=9": problems.kdv_soliton(9.0),
    "schroedinger_soliton other": problems.schroedinger_soliton(height=2.5, winding=-5),
    "navier_stokes dim=2": problems.navier_stokes(dim=2, nu=0.05),
    "abc_flow other": problems.abc_flow(nu=0.3, a=0.5, b=-1.0, c=1.5),
    "rossby_wave other": problems.rossby_wave(beta=-3.0, nu=0.1, drag=0.2),
    "taylor_green_vortex nu=1": problems.taylor_green_vortex(1.0),
    "plate_with_hole other": problems.plate_with_hole(radius=0.5, lame=3.0, shear=0.7),
    "plate_with_hole grips": problems.plate_with_hole("grips", half_length=2.5),
    "lid_driven_cavity sine": problems.lid_driven_cavity(400.0, lid="sine"),
    "darcy lognormal": problems.darcy("lognormal", seed=1, sample=2, modes=5, strength=3.0),
    **{
        f"{name} dim={dim}": problems.get(name)(dim=dim)
        for name in (
            *("allen_cahn_waves", "fisher_kpp", "nonlinear_schroedinger", "swift_hohenberg"),
            *("cahn_hilliard", "gray_scott", "complex_ginzburg_landau", "kuramoto_sivashinsky"),
            *("apebench_burgers", "apebench_kdv", "apebench_fisher"),
        )
        for dim in (2, 3)
    },
}
CHANGES = {
    "burgers": {"nu": 0.2},
    "convection": {"c": 3.3},
    "convection_diffusion": {"c": 1.7, "D": 0.4},
    "heat": {"D": 0.7},
    "wave": {"c": 1.1},
    "klein_gordon": {"omega": 2.2, "gamma": 3.0},
    "helmholtz": {"a1": 2, "a2": 3, "k": 0.4},
    "vector_burgers": {"nu": 0.02, "a": -0.7},
    "diffusion": {"D": 0.05},
    "advection": {"c": 0.3},
    "dispersion": {"b": -0.4},
    "periodic_wave": {"c": 2.5},
    "kdv_soliton": {"c": 6.0},
    "schroedinger_soliton": {"eta": 3.0, "m": 1},
    "taylor_green_vortex": {"nu": 0.3},
    "rossby_wave": {"beta": 2.0, "nu": 0.2, "mu": 0.0},
    "abc_flow": {"nu": 0.4, "a": 0.2, "b": 2.0, "c": -1.0},
    "plate_with_hole": {"lambda": 2.0, "mu": 0.5, "S": -3.0},
}
EXACT = [name for name, problem in VARIANTS.items() if problem.exact]
N = 200


def points_of(problem, seed=0):
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand((N, len(lower)), generator=generator, dtype=torch.float64)
    return lower + (upper - lower) * (0.02 + 0.98 * draw), lower, upper


def evaluate(problem, expression, points):
    program = Program([expression], [*problem.coordinates, *problem.values])
    (value,) = program(*points.unbind(-1), *problem.values.values())
    return torch.as_tensor(value).expand(len(points))


def slope(values, points):
    """Gradient of each value along its own point; complex values by their parts."""
    if values.is_complex():
        return torch.complex(slope(values.real, points), slope(values.imag, points))
    if not values.requires_grad:
        return torch.zeros_like(points)
    return torch.autograd.grad(values.sum(), points, create_graph=True)[0]


def derivatives(problem, expression, points, wanted):
    """Partial derivatives of an expression by nested autograd: {(symbol, …): values}."""
    points = points.clone().requires_grad_()
    found = {(): evaluate(problem, expression, points)}
    for symbols in wanted:
        for k in range(1, len(symbols) + 1):
            if symbols[:k] not in found:
                column = problem.coordinates.index(symbols[k - 1])
                found[symbols[:k]] = slope(found[symbols[: k - 1]], points)[:, column]
    return {k: v.detach() for k, v in found.items()}


def relative_residual(problem, seed=0):
    """Largest residual of the exact solution, relative to the largest term of the equation."""
    points, _, _ = points_of(problem, seed)
    worst = 0.0
    for residual in problem.residuals:
        atoms = sorted(residual.atoms(sp.Derivative), key=str)
        stand_ins = {a: sp.Dummy() for a in (*atoms, *problem.fields)}
        values = {}
        for field in problem.fields:
            mine = [a for a in atoms if a.expr == field]
            found = derivatives(
                problem, problem.exact[field], points, [tuple(a.variables) for a in mine]
            )
            values |= {stand_ins[a]: found[tuple(a.variables)] for a in mine}
            values[stand_ins[field]] = found[()]
        terms = [t.xreplace(stand_ins) for t in sp.Add.make_args(sp.expand(residual))]
        arguments = [*values, *problem.coordinates, *problem.values]
        program = Program(terms, arguments)
        columns = program(*values.values(), *points.unbind(-1), *problem.values.values())
        columns = [torch.as_tensor(c).expand(N) for c in columns]
        # where every term vanishes (∇·u of the ABC flow) the residual is compared with 1
        scale = max(float(column.abs().max()) for column in columns) or 1.0
        worst = max(worst, float(sum(columns).abs().max() / scale))
    return worst


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_solution_solves_the_equation(name):
    assert relative_residual(VARIANTS[name]) < 1e-11


@pytest.mark.parametrize("name", [n for n in EXACT if n != "burgers" and "burgers" not in n])
def test_the_exact_solution_solves_the_equation_symbolically(name):
    """With the parameters as symbols: for every value of them, not only for the defaults."""
    problem = VARIANTS[name]
    for residual in problem.residuals:
        left = residual.subs(problem.exact).doit()
        assert sp.simplify(sp.expand(left)) == 0


def outflow_gap(problem, condition):
    """Largest F·n − value of the exact solution where a flux is given."""
    form = problem.weak_form()
    flux = form.equations[form.fields.index(condition.field)].flux
    generator = torch.Generator().manual_seed(0)
    sample = problem.domain.sample_boundary(N, generator, condition.on)
    exact = [f.subs(problem.exact).doit() for f in flux]
    terms = [evaluate(problem, e, sample.points) for e in exact]
    outflow = sum(e * n for e, n in zip(terms, sample.normals.unbind(1), strict=True))
    return (outflow - evaluate(problem, condition.value, sample.points)).abs().max()


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_solution_meets_the_conditions(name):
    problem = VARIANTS[name]
    points, lower, upper = points_of(problem)
    for condition in problem.conditions:
        exact = problem.exact[condition.field]
        if isinstance(condition, Initial):
            start = points.clone()
            start[:, -1] = lower[-1]
            wanted = [(problem.time,) * condition.order]
            value = derivatives(problem, exact, start, wanted)[wanted[0]]
            expected = evaluate(problem, condition.value, start)
            assert (value - expected).abs().max() < 1e-12
            continue
        if isinstance(condition, Flux):
            assert outflow_gap(problem, condition) < 1e-12
            continue
        for axis, symbol in enumerate(problem.space_coordinates):
            ends = [points.clone(), points.clone()]
            ends[0][:, axis], ends[1][:, axis] = lower[axis], upper[axis]
            if isinstance(condition, Dirichlet):
                for end in ends:
                    gap = evaluate(problem, exact - condition.value, end)
                    assert gap.abs().max() < 1e-12
            elif condition.axis == symbol:
                assert isinstance(condition, Periodic)
                wanted = [(symbol,), (symbol, symbol)]
                low, high = (derivatives(problem, exact, end, wanted) for end in ends)
                for key in low:
                    assert (low[key] - high[key]).abs().max() < 1e-9 * (1 + low[key].abs().max())


@pytest.mark.parametrize("name", CHANGES)
def test_changing_parameters_changes_the_exact_solution_with_them(name):
    default = problems.get(name)()
    changed = default.with_parameters(CHANGES[name])
    assert {p.name: v for p, v in changed.values.items()} == {
        **{p.name: v for p, v in default.values.items()},
        **CHANGES[name],
    }
    assert relative_residual(changed, seed=1) < 1e-11
    points, _, _ = points_of(default)
    field = default.fields[0]
    before = evaluate(default, default.exact[field], points)
    after = evaluate(changed, changed.exact[field], points)
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_and_read_back_it_is_equal(name):
    problem = VARIANTS[name]
    again = PDE.from_json(problem.to_json())
    assert again == problem and hash(again) == hash(problem)
    assert again.values == problem.values
    assert again.to_json() == problem.to_json()


def test_the_zoo_is_what_the_documentation_says():
    assert set(problems.names()) == {
        *("burgers", "burgers_gaussian", "vector_burgers", "allen_cahn", "allen_cahn_waves"),
        *("fisher_kpp", "klein_gordon", "heat", "diffusion", "advection", "convection"),
        *("convection_diffusion", "wave", "periodic_wave", "dispersion", "kdv", "kdv_burgers"),
        *("kdv_soliton", "kdv_two_solitons", "nonlinear_schroedinger", "schroedinger_soliton"),
        *("kuramoto_sivashinsky", "kuramoto_sivashinsky_velocity", "swift_hohenberg"),
        *("cahn_hilliard", "gray_scott", "complex_ginzburg_landau", "navier_stokes_vorticity"),
        *("taylor_green_vortex", "rossby_wave", "navier_stokes", "abc_flow", "helmholtz"),
        *("poisson", "apebench_burgers", "apebench_kdv", "apebench_kuramoto_sivashinsky"),
        *("apebench_fisher", "poisson_lshape", "nonlinear_diffusion", "stokes"),
        *("linear_elasticity", "darcy", "fitzhugh_nagumo", "lid_driven_cavity"),
        *("cylinder_channel", "plate_with_hole"),
    }
    assert set(problems.__all__) == {*problems.names(), "from_difficulty", "get", "names"}
    for name in problems.names():
        problem, text = problems.get(name)(), problems.get(name).__doc__
        assert problem.name == name
        assert "Good values" in text and "References" in text
        assert problem.description


def test_defaults_are_the_published_benchmarks():
    value = {
        name: {p.name: v for p, v in problems.get(name)().values.items()}
        for name in problems.names()
    }
    assert value["burgers"] == {"nu": 0.01 / math.pi}
    assert value["allen_cahn"] == {"D": 1e-4, "R": 5.0}
    assert value["kdv"] == {"delta": 0.022}
    assert value["helmholtz"] == {"a1": 1.0, "a2": 4.0, "k": 1.0}
    assert value["wave"] == {"c": 2.0}
    assert value["klein_gordon"] == {"omega": 5.0, "gamma": 1.0}
    for name in ("burgers", "allen_cahn", "kdv", "convection", "convection_diffusion"):
        problem = problems.get(name)()
        assert problem.periodic_axes(problem.fields[0]) == problem.space_coordinates


def test_bad_arguments_are_named():
    with pytest.raises(InvalidOption, match=r"burger.*known are: burgers"):
        problems.get("burger")
    with pytest.raises(InvalidOption, match="dim is 0"):
        problems.poisson(0)
    with pytest.raises(InvalidOption, match=r"dim is 2\.5"):
        problems.heat(2.5)
    with pytest.raises(InvalidProblem, match="nu is -1; only positive"):
        problems.burgers(-1)
    with pytest.raises(InvalidProblem, match=r"a1 is 1\.5; only integers"):
        problems.helmholtz(a1=1.5)
    with pytest.raises(InvalidProblem, match="c is nan"):
        problems.convection(math.nan)
    with pytest.raises(InvalidOption, match="dim is 4; give a whole number from 1 to 3"):
        problems.gray_scott(dim=4)
    with pytest.raises(InvalidOption, match="dim is 1; give a whole number from 2 to 3"):
        problems.navier_stokes(dim=1)
    with pytest.raises(InvalidOption, match="dim is True"):
        problems.advection(dim=True)
    for length in (0, -1.0, math.inf, "32", None):
        with pytest.raises(InvalidOption, match=r"length is .*positive finite number"):
            problems.kuramoto_sivashinsky(length=length)
    with pytest.raises(InvalidOption, match="duration is 0"):
        problems.navier_stokes_vorticity(duration=0)
    for name, options, words in (
        ("lid_driven_cavity", {"lid": "fast"}, "lid='fast'; give one of 'uniform', 'sine'"),
        ("plate_with_hole", {"load": "bend"}, "load='bend'; give one of 'kirsch', 'grips'"),
        ("darcy", {"coefficient": "sand"}, "coefficient='sand'; give one of 'threshold'"),
        ("darcy", {"modes": 3}, "modes=3; give a whole number from 4 to 32"),
        ("darcy", {"modes": True}, "modes=True"),
        ("cylinder_channel", {"reynolds": 0}, "reynolds is 0"),
    ):
        with pytest.raises(InvalidOption, match=words):
            problems.get(name)(**options)
    with pytest.raises(InvalidProblem, match=r"a is 1; accepted are values from -0\.99"):
        problems.vector_burgers(amplitude=1.0)
