"""The generator against its published answers, and what counter-based means."""

import numpy as np
import pytest

from pdeml.probability.philox import normal, philox, sample_keys, uniform

KNOWN = [
    # Random123, kat_vectors: philox4x32, 10 rounds
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, answer", KNOWN)
def test_known_answers(counter, key, answer):
    words = philox(*([np.array([w], dtype=np.uint64) for w in ws] for ws in (counter, key)))
    assert tuple(int(w[0]) for w in words) == answer


def test_a_number_depends_on_seed_sample_and_counter_alone():
    m = np.arange(-5, 20)
    whole = normal(sample_keys(3, 0, 50), [m, m**2])
    part = normal(sample_keys(3, 30, 4), [m[7:9], m[7:9] ** 2])
    assert np.array_equal(part, whole[30:34, 7:9])
    assert len(np.unique(whole)) == whole.size


@pytest.mark.parametrize(
    "seed, sample", [(0, 1), (2**32, 0), (2**62 + 1, 0), (1, 0), (0, 2**32), (0, 2**62)]
)
def test_every_bit_of_seed_and_sample_counts(seed, sample):
    m = np.arange(4)
    first = uniform(sample_keys(0, 0, 1), [m])[0]
    assert not np.any(first == uniform(sample_keys(seed, sample, 1), [m])[0])


@pytest.mark.parametrize("place", range(4))
def test_every_counter_counts(place):
    counter = [np.array([0, 0])] * place + [np.array([1, -1])]
    drawn = uniform(sample_keys(0, 0, 1), counter)[0][0]
    origin = uniform(sample_keys(0, 0, 1), [np.array([0])])[0][0]
    assert len({*drawn, *origin}) == 3


def test_moments_and_independence():
    """10⁶ numbers: five standard errors of means, variances, correlations, tails."""
    keys = sample_keys(11, 0, 1000)
    u, v = uniform(keys, [np.arange(1000)])
    assert 0 < u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1
    n = u.size
    for w in (u, v):
        assert abs(w.mean() - 0.5) < 5 / np.sqrt(12 * n)
        assert abs(w.var() - 1 / 12) < 5 / np.sqrt(180 * n)
    z = normal(keys, [np.arange(1000)])
    x, y = z.real, z.imag
    for pair in ((x, y), (x[:, 1:], x[:, :-1]), (x[1:], x[:-1]), (u, v), (x**2, y**2)):
        assert abs(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]) < 5 / np.sqrt(n)
    for w in (x, y):
        assert abs((w**2).mean() - 1) < 5 * np.sqrt(2 / n)
        assert abs((w**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert abs((np.abs(x) > 3).mean() - 0.0026998) < 5 * np.sqrt(0.0027 / n)
