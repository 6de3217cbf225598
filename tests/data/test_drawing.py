"""What is drawn for a sample: the right distributions, and functions of its seed alone."""

import numpy as np
import pytest
import torch
from scipy import stats

import pdeml
from pdeml.data import drawing, generate, patches
from pdeml.data.drawing import RandomInitial, checked_ranges, drawn_parameters
from pdeml.data.seeds import sample_seed, sample_seeds
from pdeml.errors import DatasetMismatch

RANGES = {"nu": (0.001, 1.0, "log"), "a": (-2.0, 4.0)}
SEEDS = sample_seeds(0, range(3))


def parameters(seeds):
    return drawn_parameters(checked_ranges(pdeml.problems.kdv_burgers(), RANGES), seeds)


def starts(name, shape, seeds, field="random", **arguments):
    return RandomInitial(pdeml.problems.get(name)(**arguments), shape, field)(seeds)


def test_parameters_are_uniform_and_log_uniform_and_independent():
    drawn = parameters(sample_seeds(5, range(1000)))
    share = (drawn["a"] + 2) / 6, np.log(drawn["nu"] / 0.001) / np.log(1000)
    for values in share:
        assert stats.kstest(values, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(*share).statistic) < 0.09
    # neighbouring samples, and samples of neighbouring roots
    assert abs(stats.spearmanr(share[0][:-1], share[0][1:]).statistic) < 0.09
    other = parameters(sample_seeds(6, range(1000)))["a"]
    assert abs(stats.spearmanr(drawn["a"], other).statistic) < 0.09


def test_a_parameter_is_not_drawn_from_the_numbers_of_the_field():
    """Were they from one stream, the first wave of the start would tell the parameter."""
    seeds = sample_seeds(0, range(400))
    modes = torch.fft.rfft(starts("kdv_burgers", (16,), seeds)[:, 0]).numpy()
    for drawn in parameters(seeds).values():
        for number in (modes[:, 1].real, modes[:, 1].imag, abs(modes[:, 1]), np.angle(modes[:, 1])):
            assert abs(stats.spearmanr(drawn, number).statistic) < 0.15


def test_the_default_field_has_its_spectrum():
    """E|û_m|² ∝ (4π²m² + τ²)^(−γ), with the mean and the deviation of the declared value."""
    values = starts("kdv", (64,), sample_seeds(3, range(1000)))[:, 0]
    power = torch.fft.rfft(values, norm="forward").abs().square().mean(0)
    m = torch.arange(1, 9)
    expected = (4 * torch.pi**2 * m**2 + drawing.TAU**2) ** -drawing.GAMMA[1]
    found = power[1:9] / power[1:9].sum()
    torch.testing.assert_close(found, (expected / expected.sum()).double(), rtol=0.13, atol=0)
    assert power[0] < 1e-25  # cos πx has mean zero
    assert values.square().mean().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    "name, shape, gamma, tau, deviation",
    [
        ("burgers", (64,), 2.0, 5.0, 0.593574),
        ("vector_burgers", (64,), 2.0, 5.0, 0.593574),
        ("kuramoto_sivashinsky", (64,), 2.0, 5.0, 0.593574),
        ("navier_stokes_vorticity", (32, 32), 2.5, 7.0, 0.185233),
    ],
)
def test_published_fields(name, shape, gamma, tau, deviation):
    """E|û_m|² ∝ (4π²|m|² + τ²)^(−γ); pointwise deviations from the series."""
    arguments = {"dim": 1} if name == "vector_burgers" else {}
    values = starts(name, shape, sample_seeds(1, range(500)), **arguments)[:, 0]
    assert values.std().item() == pytest.approx(deviation, rel=0.06)
    power = torch.fft.fftn(values, dim=tuple(range(1, values.dim()))).abs().square().mean(0)
    along = power if power.dim() == 1 else power[:, 0] + power[0]
    ratio = (along[1] / along[3]).item()
    law = ((36 * np.pi**2 + tau**2) / (4 * np.pi**2 + tau**2)) ** gamma
    assert ratio == pytest.approx(law, rel=0.2)


CASES = [
    ("burgers", (16,), {}),
    ("kdv", (16,), {}),
    ("nonlinear_schroedinger", (16,), {}),
    ("advection", (16,), {}),
    ("navier_stokes_vorticity", (8, 8), {}),
    ("fisher_kpp", (8, 8), {"dim": 2}),
    ("gray_scott", (16,), {}),
]


@pytest.mark.parametrize("name, shape, arguments", CASES)
def test_starts_are_functions_of_the_seed_and_the_point_alone(name, shape, arguments):
    """Not of the other samples, and on a finer grid they are the same function."""
    together = starts(name, shape, SEEDS, **arguments)
    for row in (2, 0):
        alone = starts(name, shape, SEEDS[row : row + 1], **arguments)
        assert torch.equal(alone[0], together[row])
    assert (together[0] - together[1]).abs().max() > 1e-2
    if name in ("advection", "fisher_kpp", "gray_scott"):
        fine = starts(name, tuple(2 * n for n in shape), SEEDS, **arguments)
        coarse = fine[..., ::2] if len(shape) == 1 else fine[..., ::2, ::2]
        # the displacement is a series, of which the finer grid has more terms
        torch.testing.assert_close(coarse, together, rtol=0, atol=2e-2)


def test_patches_are_in_the_box_everywhere_alike():
    """Bounds, the relation between the variables, uniform centres, and the numbers of patches."""
    seeds = sample_seeds(0, range(600))
    u, v = starts("gray_scott", (64,), seeds).unbind(1)
    torch.testing.assert_close(u, 1 - 2 * v)
    assert v.min() >= 0 and v.max() <= 0.25
    mean = v.mean(0)
    assert mean.std() / mean.mean() < 0.12
    ends = torch.cat([mean[:3], mean[-3:]]).mean()  # through which patches go on
    assert ends.item() == pytest.approx(mean.mean().item(), rel=0.15)
    population = starts("fisher_kpp", (32, 32), seeds[:200], dim=2)
    assert population.min() >= 0 and 0.8 < population.max() <= 1
    # one patch alone: most of the box is at rest
    assert ((population > 0.05).double().mean((1, 2, 3)) < 0.6).double().mean() > 0.95
    # a wider patch with a larger scale
    wide = starts("fisher_kpp", (32, 32), seeds[:50], {"name": "random", "scale": 2.0}, dim=2)
    assert wide.mean() > 2 * population[:50].mean()


def test_a_single_patch_in_closed_form():
    """At the centre, at the radius and through the end of the box."""
    one = patches.Patches((0.0,), (2.0,), (0.1, 0.1), edge=(0.03, 0.03), height=(1.0, 1.0))
    bounds = [torch.tensor([0.0]), torch.tensor([1.0])]
    seeds = [s for s in range(200) if int(patches._shares(s)[0, 0] * 4) == 0]
    assert 30 < len(seeds) < 70  # a quarter has one patch in one dimension
    centre = patches._shares(seeds[0])[1, 3].item()
    points = (torch.tensor([[centre], [centre + 0.1], [centre - 0.1], [centre + 0.5]]) % 1).double()
    values = one(points, bounds, seeds[0])[0]
    inside = 1 + np.tanh(0.1 / 0.06)
    np.testing.assert_allclose(values, [inside, 1, 1, 0], atol=1e-6)


def test_fronts_stay_between_the_states(tmp_path):
    ds = generate("fisher_kpp", 4, tmp_path / "a.h5", frames=3, resolution=128, dt=0.02)
    values = ds.read()
    assert values.min() > -1e-3 and values.max() < 1 + 1e-3
    assert (values[:, -1].mean(-1) > values[:, 0].mean(-1)).all()  # they grow
    assert ds.problem.name == "fisher_kpp"


GOLDEN = {
    "nu": ["3.268674e-02", "2.411095e-01", "7.238493e-03"],
    "burgers": ["5.536494e-01", "7.017671e-01", "7.845759e-01"],
    "kdv": ["6.270173e-01", "7.885320e-01", "8.248546e-01"],
    "nonlinear_schroedinger": ["1.777016e+00", "1.851606e+00", "1.935058e+00"],
    "advection": ["3.677492e-01", "7.079757e-01", "9.719377e-01"],
    "navier_stokes_vorticity": ["2.434591e-01", "2.535636e-01", "3.643393e-01"],
    "fisher_kpp": ["2.351966e-01", "2.533438e-01", "2.787737e-01"],
    "gray_scott": ["1.068083e-01", "1.862263e-01", "1.875052e-01"],
}


def test_another_recipe_is_another_version():
    """Numbers that differ from these are other data: raise `drawing.RECIPE` and replace them."""
    assert sample_seed(0, 1) == 8118103383084794603
    found = {"nu": [f"{v:.6e}" for v in parameters(SEEDS)["nu"]]}
    for name, shape, arguments in CASES:
        first = starts(name, shape, SEEDS, **arguments)[0, -1].flatten()
        real = torch.view_as_real(first).flatten() if first.is_complex() else first
        found[name] = [f"{v:.6e}" for v in real.sort().values[-3:].tolist()]
    assert drawing.RECIPE == 2
    assert found == GOLDEN


def test_the_recipe_identifies_a_data_set(tmp_path, monkeypatch):
    options = {"frames": 2, "resolution": 16, "dt": 0.05, "durability": "process"}
    path = tmp_path / "a.h5"
    generate("kdv", 2, path, **options)
    stored = pdeml.data.open(path).contents.attributes["provenance"]["options"]
    assert stored["recipe"] == drawing.RECIPE
    monkeypatch.setattr("pdeml.data.batches.RECIPE", drawing.RECIPE + 1)
    with pytest.raises(DatasetMismatch, match="option 'recipe' is 2, asked is 3"):
        generate("kdv", 2, path, **options)


def test_a_function_of_seeds_is_known_by_what_it_gives(tmp_path):
    options = {"frames": 2, "resolution": 16, "dt": 0.05, "durability": "process"}

    def start_of(factor):
        def waves(seeds):
            phase = torch.from_numpy((seeds >> np.uint64(11)).astype(float))[:, None, None]
            return factor * torch.cos(torch.linspace(0, 2, 17)[:-1].double() * torch.pi + phase)

        return waves

    generate("kdv", 2, tmp_path / "a.h5", initial=start_of(1.0), **options)
    generate("kdv", 2, tmp_path / "a.h5", initial=start_of(1.0), **options)
    with pytest.raises(DatasetMismatch, match="option 'initial'"):
        generate("kdv", 2, tmp_path / "a.h5", initial=start_of(1.1), **options)


def test_fewer_points_are_kept(tmp_path):
    """The run is on the fine grid, what is stored is its truncated series."""
    options = {"frames": 3, "dt": 0.02, "dtype": "float64", "durability": "process"}
    fine = generate("burgers", 2, tmp_path / "a.h5", resolution=64, **options)
    kept = generate("burgers", 2, tmp_path / "b.h5", resolution=64, keep=16, **options)
    assert kept.shape == (2, 3, 1, 16)
    torch.testing.assert_close(kept.read(), fine.downsample(4).read(), rtol=0, atol=1e-14)
    with pytest.raises(DatasetMismatch, match="resolution"):
        generate("burgers", 2, tmp_path / "b.h5", resolution=32, keep=16, **options)
    with pytest.raises(pdeml.errors.InvalidOption, match="divisors"):
        generate("burgers", 2, tmp_path / "c.h5", resolution=64, keep=24, **options)


def test_parameters_of_the_declared_start_are_those_of_the_sample(tmp_path):
    """The exact solution for each drawn amplitude; a replaced start does not depend on it."""
    problem = pdeml.problems.vector_burgers(dim=1, nu=0.1)
    options = {"frames": 2, "resolution": 64, "dt": 0.01, "dtype": "float64"}
    vary = {"a": (0.1, 0.9)}
    ds = generate(problem, 2, tmp_path / "a.h5", vary=vary, initial="declared", **options)
    x = torch.from_numpy(ds.axes[0].points)
    for i in range(2):
        wave = ds.params["a"][i] * torch.exp(-4 * torch.pi**2 * 0.1 * ds.times)[:, None]
        exact = 0.2 * wave * 2 * torch.pi * torch.sin(2 * torch.pi * x)
        exact = exact / (1 + wave * torch.cos(2 * torch.pi * x))
        torch.testing.assert_close(ds.read(i)[0, :, 0], exact, rtol=0, atol=2e-6)
    assert generate(problem, 2, tmp_path / "b.h5", **options).params == {}
    with pytest.raises(pdeml.errors.InvalidOption, match="vary a: it stands in the initial value"):
        generate(problem, 2, tmp_path / "c.h5", vary=vary, **options)
