"""Mutated mesh files: a valid mesh or a refusal, in bounded time and memory, never another error.

The mutants are read in a process with limits, which also shows what would have crashed or hung.
"""

import re
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from pdeml.domains import Mesh, Surface
from pdeml.errors import InvalidMesh
from pdeml.isolation import Isolation
from tests.domains.meshes import annulus, boxes, spiky, symbols
from tests.domains.test_mesh_files import (
    DOLFINX,
    MSH_2,
    MSH_4,
    as_binary,
    as_text,
    dolfinx,
    tagged,
)
from tests.domains.test_mesh_tensor import GMSH_HEXAHEDRON as HEXAHEDRON

SECONDS = 10.0  # of one mutant
LIMITS = {"time_limit": 60.0, "memory_limit": 2**28, "error": InvalidMesh}

HOSTILE = (
    *(b"0", b"-1", b"-3", b"1e999", b"nan", b"-inf", b"1e-320", b"0x10", b"1_0", b"9" * 400),
    *(b"2147483648", b"9223372036854775808", b"4294967295", b"65537", b"1.5", b"", b"\xff", b"\0"),
)
SOLIDS = ("msh solid", "stl text", "stl binary")
COUNTS = (0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**63, 2**64 - 1)
QUADRATURE = ("points", "normals", "weights")
NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")


def written(folder, ending):
    """A mesh with all that pdeml writes."""
    tagged(2).write(folder / f"a{ending}")
    return (folder / f"a{ending}").read_bytes()


QUADRILATERALS = """<?xml version="1.0"?>
<Xdmf Version="3.0"><Domain>
<Grid Name="mesh" GridType="Uniform">
<Topology TopologyType="Quadrilateral" NumberOfElements="2" NodesPerElement="4">
<DataItem Dimensions="2 4" Format="XML">0 1 2 3 1 4 5 2</DataItem></Topology>
<Geometry GeometryType="XY">
<DataItem Dimensions="6 2" Format="XML">0 0 1 0 1.2 1 0 1 2 0.1 2 1.5</DataItem></Geometry>
</Grid></Domain></Xdmf>
"""


def seeds(kind, folder):
    """Valid files of a format, of which mutants are made: those of other programs and of pdeml."""
    match kind:
        case "msh 2":
            return [MSH_2.encode()]
        case "msh 4":
            return [MSH_4.encode(), MSH_4.replace("\n", "\r\n").encode(), written(folder, ".msh")]
        case "xdmf":
            dolfinx(folder)
            return [DOLFINX.encode(), written(folder, ".xdmf")]
        case "msh solid":
            boxes((1, 2, 1), 0.2).write(folder / "a.msh")
            return [HEXAHEDRON.encode(), (folder / "a.msh").read_bytes()]
        case "xdmf quadrilaterals":
            boxes((2, 2), 0.2).write(folder / "a.xdmf")
            return [QUADRILATERALS.encode(), (folder / "a.xdmf").read_bytes()]
        case "stl text":
            return [as_text(spiky(6))]
        case "stl binary":
            return [as_binary(spiky(6)), as_binary(spiky(6)).replace(b"solid", b"other")]
        case "hdf5":
            path = dolfinx(folder)
            return [path.with_suffix(".h5").read_bytes()]
    raise ValueError(kind)


def mutant(data, generator):
    """Bytes or bits changed, a slice lost, doubled or moved, the end cut off, lines exchanged, or
    numbers replaced by those that readers stumble over; one to three of these."""
    for _ in range(generator.integers(1, 4)):
        if len(data) > 2:
            data = _once(bytearray(data), generator)
    return data


def _once(data, generator):
    start, stop = np.sort(generator.integers(0, len(data), 2)).tolist()
    kind = int(generator.integers(8))
    if kind == 0:
        for place in generator.integers(0, len(data), generator.integers(1, 8)):
            data[place] = generator.integers(256)
    elif kind == 1:
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] ^= 1 << int(generator.integers(8))
    elif kind == 2:
        del data[start : min(stop, start + 40)]
    elif kind == 3:
        data[start:start] = data[start : start + 40]
    elif kind == 4:
        del data[stop:]
    elif kind == 5:
        lines = data.split(b"\n")
        one, two = generator.integers(0, len(lines), 2)
        lines[one] = lines[two]
        return b"\n".join(lines)
    elif found := list(NUMBER.finditer(data)):
        # more than half of the mutants of a text: they reach beyond the parser
        match = found[generator.integers(len(found))]
        data[match.start() : match.end()] = HOSTILE[generator.integers(len(HOSTILE))]
    else:
        size = 2 ** int(generator.integers(4))
        value = COUNTS[generator.integers(len(COUNTS))]
        data[start : start + size] = value.to_bytes(8, "little")[:size]
    return bytes(data)


def read(path, kind):
    """Whether a file is a valid mesh; `InvalidMesh` if it is not."""
    reader, dim = Surface.read if "stl" in kind else Mesh.read, 3 if kind in SOLIDS else 2
    mesh = reader(path, symbols(dim))
    assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.volume) and mesh.volume > 0
    # the divergence theorem: the boundary closes around the volume
    points, normals, weights = (getattr(mesh.boundary_quadrature(), n) for n in QUADRATURE)
    scale = float((weights * points.norm(dim=1)).sum())
    around = float((weights * (points * normals).sum(1)).sum()) / mesh.dim
    assert abs(around - mesh.volume) <= 1e-9 * scale
    return True


def fuzz(kind, folder, seed, count):
    """Read mutants of one format, one after the other."""
    warnings.simplefilter("error")
    folder = Path(folder)
    ending = {"msh": ".msh", "stl": ".stl"}.get(kind[:3], ".xdmf")
    originals = seeds(kind, folder)
    generator = np.random.default_rng(seed)
    path, slowest, valid, refused = folder / f"m{ending}", 0.0, 0, 0
    for original in originals:
        path.write_bytes(original)
        assert read(path, kind)
    for _ in range(count):
        data = mutant(originals[generator.integers(len(originals))], generator)
        path.write_bytes(data)
        clock = time.perf_counter()
        try:
            valid += read(path, kind)
        except InvalidMesh:
            refused += 1
        except BaseException as error:
            (folder / "failed").write_bytes(data)
            raise AssertionError(f"{kind}: {type(error).__name__} {error} by {data!r}") from error
        slowest = max(slowest, time.perf_counter() - clock)
    return {"slowest": slowest, "valid": valid, "refused": refused, "peak": peak_bytes()}


def peak_bytes():
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def isolation():
    with Isolation(**LIMITS) as isolation:
        yield isolation


def check(isolation, tmp_path, kind, seed, count):
    before = isolation.call(fuzz, kind, str(tmp_path), seed, 0)["peak"]
    result = isolation.call(fuzz, kind, str(tmp_path), seed, count)
    assert result["valid"] + result["refused"] == count
    # mutants that are all refused at the first byte would test nothing
    assert result["valid"] > count // 50 and result["refused"] > count // 4
    assert result["slowest"] < SECONDS
    assert result["peak"] - before < 2**26


def test_a_block_of_nodes_has_a_dimension(tmp_path):
    """Parameters follow the coordinates: with dimension −3 a row had no numbers at all."""
    text = MSH_4.replace("2 5 10 50\n", "3 5 10 50\n-3 1 1 0\n")
    (tmp_path / "a.msh").write_text(text)
    with pytest.raises(InvalidMesh, match="a block of dimension -3, not of 0 to 3"):
        Mesh.read(tmp_path / "a.msh", symbols(2))


def test_a_signalling_nan_is_refused_before_it_is_converted(tmp_path):
    data = as_binary(spiky(6))
    (tmp_path / "a.stl").write_bytes(data[:96] + b"\1\0\x80\x7f" + data[100:])
    with warnings.catch_warnings(), pytest.raises(InvalidMesh, match="NaN or infinite"):
        warnings.simplefilter("error")
        Surface.read(tmp_path / "a.stl", symbols(3))


TEXTS = (
    *("msh 2", "msh 4", "msh solid", "xdmf", "xdmf quadrilaterals"),
    *("stl text", "stl binary"),
)


@pytest.mark.parametrize("kind", TEXTS)
def test_mutants_are_read_or_refused(isolation, tmp_path, kind):
    check(isolation, tmp_path, kind, seed=0, count=80 if kind == "msh solid" else 250)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS)
def test_many_mutants_are_read_or_refused(isolation, tmp_path, kind):
    check(isolation, tmp_path, kind, seed=1, count=2000)


def hdf5_mutants(isolation, tmp_path, seed, count):
    """Each mutant is a call of its own: what HDF5 itself does is counted, not excused."""
    (original,) = seeds("hdf5", tmp_path)
    path, generator = tmp_path / "s.xdmf", np.random.default_rng(seed)
    found = dict.fromkeys(("valid", "refused", "stopped"), 0)
    for _ in range(count):
        path.with_suffix(".h5").write_bytes(mutant(original, generator))
        try:
            isolation.call(outcome, str(path))
            found["valid"] += 1
        except InvalidMesh as error:
            assert "failed: " not in str(error), error
            found["stopped" if "was stopped" in str(error) else "refused"] += 1
    return found


def outcome(path):
    return {"valid": read(path, "xdmf")}


def test_mutants_of_hdf5_are_read_or_refused(isolation, tmp_path):
    found = hdf5_mutants(isolation, tmp_path, seed=0, count=60)
    assert found["valid"] > 5 and found["refused"] > 15 and found["stopped"] == 0


@pytest.mark.slow
def test_many_mutants_of_hdf5_are_read_or_refused(tmp_path):
    """The library itself may hang or crash on a few (PEERS.md §3), and then the process does."""
    with Isolation(**{**LIMITS, "time_limit": SECONDS}) as isolation:
        found = hdf5_mutants(isolation, tmp_path, seed=1, count=2000)
    assert found["valid"] > 100 and found["refused"] > 500 and found["stopped"] <= 5


def test_mutants_of_what_pdeml_wrote_are_all_refused(tmp_path):
    """The text holds the digest of the arrays: HDF5 sees none of the mutants."""
    mesh = annulus()
    mesh.write(tmp_path / "a.xdmf")
    original = (tmp_path / "a.h5").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(250):
        if (data := mutant(original, generator)) != original:
            (tmp_path / "a.h5").write_bytes(data)
            with pytest.raises(InvalidMesh, match="digest"):
                Mesh.read(tmp_path / "a.xdmf", mesh.coordinates)
