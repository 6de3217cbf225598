"""Files for ParaView hold the solution, its times and its cells; pictures leave holes blank."""

import math
import subprocess
import sys
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import torch

import pdeml
from pdeml import problems
from pdeml.errors import InvalidOption, MissingDependency, OutputError
from pdeml.solvers import fem
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.pieces import pieces

TIMES = [0.0, 0.5, 0.75]


@pytest.fixture(scope="module")
def heat():
    return pdeml.solve(problems.heat(1), "fem", reference=None, h=1 / 8, dt=1 / 8)


@pytest.fixture(scope="module")
def stokes():
    """A system with degrees 2 and 1."""
    return pdeml.solve(problems.stokes(), "fem", reference=None, h=1 / 4)


def expected(solution, points, instant=None):
    at = torch.from_numpy(np.ascontiguousarray(points[:, : solution.field.dim]))
    if instant is not None:
        at = torch.cat([at, torch.full((len(at), 1), instant).to(at)], dim=1)
    return solution(at).numpy()


@pytest.mark.parametrize("name, dim", [("heat", 1), ("stokes", 2), ("abc_flow", 3)])
def test_pieces_fill_the_mesh_and_share_vertices(name, dim):
    degree = 2
    options = {"h": 3.2, "dt": 0.5} if dim == 3 else {"h": 1 / 2}
    field = pdeml.solve(problems.get(name)(), "fem", reference=None, **options).field
    points, corners = pieces(field, degree)
    assert len(corners) == len(field.corners) * degree**dim
    assert len(points) == field.values_2.shape[2]  # the nodes of degree 2, each once

    def volumes(vertices, cells):
        edges = vertices[cells][:, 1:] - vertices[cells][:, :1]
        return np.linalg.det(edges)

    whole = volumes(*pieces(field, 1))
    assert (whole > 0).all()
    assert np.allclose(volumes(points, corners), whole[0] / degree**dim)
    assert volumes(points, corners).sum() == pytest.approx(whole.sum(), rel=1e-13)


def test_vtkhdf_series(heat, tmp_path):
    fem.export(heat, tmp_path / "run.vtkhdf", TIMES)
    with h5py.File(tmp_path / "run.vtkhdf") as file:
        root = file["VTKHDF"]
        assert root.attrs["Type"] == b"UnstructuredGrid" and tuple(root.attrs["Version"]) == (2, 0)
        points, steps = root["Points"][()], root["Steps"]
        assert points.shape == (17, 3) and steps.attrs["NSteps"] == 3
        assert root["NumberOfCells"][()] == 16 and set(root["Types"]) == {3}
        assert root["Offsets"][-1] == len(root["Connectivity"]) == 32
        assert np.array_equal(steps["Values"], TIMES)
        for k, instant in enumerate(TIMES):
            start = steps["PointDataOffsets/u"][k]
            found = root["PointData/u"][start : start + 17]
            assert np.abs(found - expected(heat, points, instant)[:, 0]).max() < 1e-14


def test_vtkhdf_of_a_system_without_time(stokes, tmp_path):
    stokes.save(tmp_path / "run.vtkhdf")
    with h5py.File(tmp_path / "run.vtkhdf") as file:
        root = file["VTKHDF"]
        assert "Steps" not in root and set(root["Types"]) == {5}
        wanted = expected(stokes, root["Points"][()])
        for k, name in enumerate("uvp"):
            assert np.abs(root[f"PointData/{name}"][()] - wanted[:, k]).max() < 1e-14


def xdmf_grids(path):
    """Time, points, cells and values by name of each grid of a file, as any reader would find them:
    by the references of the grid itself, with no inclusion of others."""
    domain = ElementTree.parse(path).getroot().find("Domain")
    assert len(domain) == 1  # readers take one series or grid
    assert domain.find("Grid").get("GridType") in ("Collection", "Uniform")

    def array(element):
        item = element.find("DataItem")
        name, _, place = item.text.partition(":")
        with h5py.File(path.parent / name) as file:
            found = file[place][()]
        assert " ".join(map(str, found.shape)) == item.get("Dimensions")
        kind = {"Float": np.float64, "Int": np.int64}[item.get("NumberType")]
        assert found.dtype == kind and item.get("Precision") == "8"
        return found

    for grid in domain.iter("Grid"):
        if grid.get("GridType") == "Uniform":
            cells, points = array(grid.find("Topology")), array(grid.find("Geometry"))
            kind = grid.find("Topology").get("TopologyType"), grid.find("Geometry").attrib
            assert kind[1] == {"GeometryType": "XYZ"} and points.shape[1] == 3
            values = {a.get("Name"): array(a) for a in grid.findall("Attribute")}
            assert {a.get("Center") for a in grid.findall("Attribute")} == {"Node"}
            time = grid.find("Time")
            yield None if time is None else float(time.get("Value")), kind[0], points, cells, values


def test_xdmf_series_keeps_degree_and_instants(heat, tmp_path):
    fem.export(heat, tmp_path / "run.xdmf", TIMES)
    grids = list(xdmf_grids(tmp_path / "run.xdmf"))
    assert [time for time, *_ in grids] == TIMES
    for time, kind, points, cells, values in grids:
        assert kind == "Polyline" and points.shape == (17, 3) and cells.shape == (16, 2)
        edges = points[cells[:, 1], 0] - points[cells[:, 0], 0]
        assert (edges > 0).all() and edges.sum() == pytest.approx(1, rel=1e-13)
        assert np.abs(values["u"] - expected(heat, points, time)[:, 0]).max() < 1e-14


def test_xdmf_of_a_system_without_time_and_of_a_solid(stokes, tmp_path):
    solid = pdeml.solve(problems.poisson(3), "fem", reference=None, h=1 / 2)
    for solution, kind, name in ((stokes, "Triangle", "plane"), (solid, "Tetrahedron", "solid")):
        solution.save(tmp_path / f"{name}.xdmf")
        ((time, found, points, cells, values),) = xdmf_grids(tmp_path / f"{name}.xdmf")
        field = solution.field
        assert time is None and found == kind
        assert len(cells) == len(field.corners) * 2**field.dim
        wanted = expected(solution, points)
        for k, f in enumerate(solution.problem.fields):
            assert np.abs(values[f.func.__name__] - wanted[:, k]).max() < 1e-14


def test_vtk_keeps_the_degree(stokes, heat, tmp_path):
    stokes.save(tmp_path / "run.pvd")
    piece = ElementTree.parse(tmp_path / "run_p0_000000.vtu").find(".//Piece")
    assert (piece.get("NumberOfPoints"), piece.get("NumberOfCells")) == ("81", "32")
    arrays = {a.get("Name"): a for a in piece.iter("DataArray")}
    assert {"u", "v", "p"} <= set(arrays)
    points = np.array(piece.find("Points/DataArray").text.split(), float).reshape(-1, 3)
    for k, name in enumerate("uvp"):
        found = np.array(arrays[name].text.split(), float)
        assert np.abs(found - expected(stokes, points)[:, k]).max() < 1e-12
    fem.export(heat, tmp_path / "series.pvd", TIMES)
    sets = ElementTree.parse(tmp_path / "series.pvd").iter("DataSet")
    assert [float(s.get("timestep")) for s in sets] == TIMES


def test_vtx_holds_points_and_every_field_at_every_instant(tmp_path, monkeypatch):
    """Its reader is another package; blocks of numbers lie in the file as they are in memory."""
    options = {"reference": None, "h": math.pi / 2, "dt": 0.5}
    vortex = pdeml.solve(problems.taylor_green_vortex(), "fem", **options)
    export = sys.modules["pdeml.solvers.fem.export"]  # the package has a function of its name
    asked, evaluated = [], export.values_at

    def values_at(solution, points, instant):
        asked.append((points, instant))
        return evaluated(solution, points, instant)

    monkeypatch.setattr(export, "values_at", values_at)
    fem.export(vortex, tmp_path / "run.bp", TIMES)
    assert [p.name for p in tmp_path.iterdir()] == ["run.bp"]
    data = (tmp_path / "run.bp" / "data.0").read_bytes()
    assert [instant for _, instant in asked] == TIMES
    for points, instant in asked:
        assert len(points) == 81 and np.pad(points, ((0, 0), (0, 1))).tobytes() in data
        for column in expected(vortex, points, instant).T:
            assert data.count(column.tobytes()) == 1


@pytest.mark.parametrize("name", ["run.xdmf", "run.pvd", "run.bp", "run.vtkhdf"])
def test_nothing_is_overwritten_and_nothing_is_left_behind(heat, tmp_path, name):
    other = {"run.xdmf": "run.h5", "run.pvd": "run000000.pvtu"}.get(name, name)
    (tmp_path / other).write_bytes(b"mine")
    with pytest.raises(OutputError, match="is there already"):
        heat.save(tmp_path / name)
    assert (tmp_path / other).read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == [other]


def test_what_export_refuses(heat, stokes, tmp_path):
    with pytest.raises(InvalidOption, match=r"end in one of \.xdmf"):
        fem.export(heat, tmp_path / "run.vtk")
    with pytest.raises(InvalidOption, match="not by 'exact'"):
        pdeml.solve(problems.heat(1), "exact").save(tmp_path / "run.xdmf")
    with pytest.raises(InvalidOption, match="rising instants from 0 to 1"):
        fem.export(heat, tmp_path / "run.vtkhdf", [0.5, 2.0])
    with pytest.raises(InvalidOption, match="has no time"):
        fem.export(stokes, tmp_path / "run.vtkhdf", [0.5])
    with pytest.raises(OutputError, match="there is no folder"):
        heat.save(tmp_path / "none" / "run.vtkhdf")


def test_a_mesh_with_names_goes_through_dolfinx_and_back(tmp_path):
    dolfinx = backend.load()
    mesh = pdeml.domains.mesh.Mesh.read(
        "meshes/plate_with_hole.xdmf", problems.stokes().space_coordinates
    )
    mesh.write(tmp_path / "plate.xdmf")
    tree = ElementTree.parse(tmp_path / "plate.xdmf")
    names = [g.get("Name") for g in tree.iter("Grid") if g.get("Name")]
    with dolfinx.io.XDMFFile(dolfinx.MPI.COMM_SELF, str(tmp_path / "plate.xdmf"), "r") as file:
        handle = file.read_mesh(name=names[0])
        handle.topology.create_connectivity(1, 2)
        tags = [file.read_meshtags(handle, name=n) for n in names[1:]]
    assert handle.topology.index_map(2).size_global == len(mesh.cells)
    facets = next(t for t in tags if t.dim == 1)
    counts = sorted(np.unique(facets.values, return_counts=True)[1])
    assert counts == sorted(len(f) for f in mesh.named_facets.values())


def test_a_saved_solution_is_used_without_dolfinx(stokes, tmp_path):
    stokes.save(tmp_path / "run.h5")
    point = [[0.3, 0.6]]
    code = (
        "import sys; sys.modules.update(dolfinx=None, petsc4py=None, mpi4py=None, ufl=None)\n"
        "import pdeml; from pdeml.errors import MissingDependency\n"
        "solution = pdeml.load('run.h5'); solution.save('run.vtkhdf'); solution.plot()\n"
        "try: solution.save('x.pvd')\n"
        "except MissingDependency as e: assert 'pip install dolfinx-solver-real' in str(e)\n"
        "else: raise SystemExit('not refused')\n"
        f"print(*solution.values_at(solution._points({point})).flatten().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [float(v) for v in done.stdout.split()] == stokes(point).flatten().tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5", "run.vtkhdf"]


def test_a_domain_that_is_no_box_is_drawn_on_its_triangles():
    problem = problems.poisson_lshape()
    solution = pdeml.solve(problem, "fem", reference=None, h=1 / 2)
    figure = solution.plot(pdeml.solve(problem, "exact"))
    panels = [a for a in figure.get_axes() if a.get_title()]
    assert [a.get_title() for a in panels] == ["fem", "exact", "absolute error"]
    bars = [a.get_ylabel() for a in figure.get_axes() if a.get_label() == "<colorbar>"]
    assert bars == ["u", "u", "absolute error"]
    (drawn,) = panels[0].collections
    corners = drawn._triangulation.triangles
    assert len(corners) == 4 * len(solution.field.corners)
    points = np.stack([drawn._triangulation.x, drawn._triangulation.y], 1)
    middles = points[corners].mean(1)
    assert not ((middles[:, 0] > 0) & (middles[:, 1] < 0)).any()
    assert np.abs(drawn.get_array() - expected(solution, points)[:, 0]).max() < 1e-14
    assert panels[0].get_aspect() == 1
    with pytest.raises(InvalidOption, match="two space coordinates"):
        fem.plot(pdeml.solve(problem, "exact"))


def test_pictures_of_solids_need_pyvista(monkeypatch, tmp_path):
    options = {"reference": None, "h": 3.2, "dt": 0.5}
    solution = pdeml.solve(problems.get("abc_flow")(), "fem", **options)
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(MissingDependency, match="pip install pyvista"):
        fem.render(solution, tmp_path / "u.png")
    with pytest.raises(InvalidOption, match=r"ends in \.png"):
        fem.render(solution, tmp_path / "u.jpg")
