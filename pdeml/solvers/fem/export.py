"""Solutions as files for ParaView: XDMF, VTK, VTX and VTKHDF."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from pdeml.domains.mesh_kinds import kind_of
from pdeml.errors import InvalidOption, OutputError
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.mesh import from_arrays
from pdeml.solvers.fem.pieces import pieces
from pdeml.solvers.fem.processes import first

SCALAR = {"AttributeType": "Scalar"}


def export(
    solution: Any, path: str | os.PathLike[str], times: Sequence[float] | None = None
) -> None:
    """Write a solution by "fem" as a file for ParaView and other programs that read VTK's formats.

    Parameters
    ----------
    solution : made by "fem", or loaded from a file.
    path : its ending is the format:

        ``.xdmf``   with ``.h5`` beside it; a cell of degree p is divided into p^d straight ones
        ``.pvd``    with ``.pvtu`` and ``.vtu`` per instant; cells keep their degree
        ``.bp``     ADIOS2, a folder; cells keep their degree
        ``.vtkhdf`` one HDF5 file; cells are divided likewise

        DOLFINx writes ``.pvd`` and ``.bp``; the others do not need it.
    times : instants; by default those of the stored states.

    Raises
    ------
    InvalidOption
        The solution is of another method, the path has another ending, or an instant is outside of
        the solution's.
    OutputError
        A file of one of the names is there already, or none can be written.
    MissingDependency
        DOLFINx is needed and not installed.

    Notes
    -----
    Files are made in a folder of their own and moved when they are complete. Under ``mpiexec``
    process 0 writes, and the others return at once.

    References
    ----------
    VTK file formats, https://docs.vtk.org/en/latest/vtk_file_formats/index.html
    """
    target = Path(path)
    if not isinstance(solution.field, FiniteElementField):
        raise InvalidOption(f'export takes a solution by "fem", not by {solution.method!r}.')
    write = WRITERS.get(target.suffix.lower())
    if write is None:
        raise InvalidOption(f"{str(path)!r}: its name must end in one of {', '.join(WRITERS)}.")
    instants = _instants(solution, times)
    if not first():
        return
    for there in (target, *([target.with_suffix(".h5")] if target.suffix == ".xdmf" else [])):
        _refuse_existing(there)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pdeml-") as folder:
            write(solution, Path(folder) / target.name, instants)
            made = sorted(Path(folder).iterdir(), key=lambda p: p.name == target.name)
            for item in made:
                _refuse_existing(target.parent / item.name)
            for item in made:  # the file that names the others comes last
                os.replace(item, target.parent / item.name)
    except FileNotFoundError as error:
        raise OutputError(f"there is no folder {str(target.parent)!r}; make it first.") from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{str(path)!r} is there already; remove it, or take another name.")


def _instants(solution: Any, times: Sequence[float] | None) -> list[float]:
    field = solution.field
    if not field.frames:
        if times is not None:
            raise InvalidOption(f"times= is given, but {solution.problem.name!r} has no time.")
        return [0.0]
    stored = field.times.tolist()
    if times is None:
        return list(stored)
    chosen = [float(t) for t in times]
    outside = [t for t in chosen if not stored[0] <= t <= stored[-1]]
    if outside or not chosen or sorted(chosen) != chosen:
        raise InvalidOption(
            f"times={chosen}: give rising instants from {stored[0]:g} to {stored[-1]:g}."
        )
    return chosen


def values_at(solution: Any, points: np.ndarray, instant: float) -> np.ndarray:
    """Fields (P, m) of a solution by any method at points in space (P, d)."""
    at = torch.from_numpy(np.ascontiguousarray(points))
    if solution.problem.time is not None:
        at = torch.cat([at, torch.full((len(at), 1), instant, dtype=at.dtype)], dim=1)
    found: np.ndarray = solution.values_at(at.to(solution.dtype)).numpy()
    return found


def _names(solution: Any) -> list[str]:
    return [f.func.__name__ for f in solution.problem.fields]


def _by_dolfinx(solution: Any, degree: int, open_file: Callable[..., Any], instants: Any) -> None:
    """Fill functions of one space and hand them to a writer, instant after instant.

    The nodes are equidistant, as VTK takes them to be.
    """
    dolfinx, field = backend.load(), solution.field
    import basix

    mesh = from_arrays(
        field.points.cpu().numpy(), field.corners.cpu().numpy(), dolfinx.MPI.COMM_SELF
    ).handle
    variant = basix.LagrangeVariant.equispaced
    element = dolfinx.basix.element("Lagrange", mesh.basix_cell(), degree, lagrange_variant=variant)
    space = dolfinx.fem.functionspace(mesh, element)
    points = space.tabulate_dof_coordinates()[:, : field.dim]
    functions = [dolfinx.fem.Function(space, name=name) for name in _names(solution)]
    file, write = open_file(dolfinx, mesh, functions)
    with file:
        for instant in instants:
            values = values_at(solution, points, instant)
            for function, column in zip(functions, values.T, strict=True):
                function.x.array[:] = column
            write(instant)


def _write_xdmf(solution: Any, path: Path, instants: Sequence[float]) -> None:
    """A grid per instant with all fields; points and cells are stored once.

    DOLFINx writes a series per field, of which readers take one, with references by XPointer, on
    which VTK's reader crashes.
    """
    import h5py

    field = solution.field
    points, cells = pieces(field, max(field.degrees))
    kind = kind_of(field.dim, cells.shape[1])
    root = ElementTree.Element("Xdmf", Version="3.0")
    series = ElementTree.SubElement(root, "Domain")
    if field.frames:
        collection = {"GridType": "Collection", "CollectionType": "Temporal"}
        series = ElementTree.SubElement(series, "Grid", collection, Name=solution.problem.name)
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["mesh/points"] = np.pad(points, ((0, 0), (0, 3 - field.dim)))
        file["mesh/cells"] = cells

        def add(parent: ElementTree.Element, tag: str, name: str, **marks: str) -> None:
            array = file[name]
            number = {"f": "Float", "i": "Int"}[array.dtype.kind]
            sizes = " ".join(map(str, array.shape))
            shape = {"Dimensions": sizes, "NumberType": number, "Precision": "8", "Format": "HDF"}
            item = ElementTree.SubElement(ElementTree.SubElement(parent, tag, marks), "DataItem")
            item.attrib |= shape
            item.text = f"{path.stem}.h5:/{name}"

        # meshio knows "Polyline" in this spelling alone
        kinds = {"TopologyType": kind.xdmf.capitalize(), "NodesPerElement": str(kind.corners)}
        for k, instant in enumerate(instants):
            grid = ElementTree.SubElement(series, "Grid", Name="mesh", GridType="Uniform")
            add(grid, "Topology", "mesh/cells", NumberOfElements=str(len(cells)), **kinds)
            add(grid, "Geometry", "mesh/points", GeometryType="XYZ")
            if field.frames:
                ElementTree.SubElement(grid, "Time", Value=repr(instant))
            columns = values_at(solution, points, instant).T
            for name, column in zip(_names(solution), columns, strict=True):
                file[f"{name}/{k}"] = column
                add(grid, "Attribute", f"{name}/{k}", Name=name, Center="Node", **SCALAR)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _write_vtk(solution: Any, path: Path, instants: Sequence[float]) -> None:
    def opened(dolfinx: Any, mesh: Any, functions: Any) -> Any:
        file = dolfinx.io.VTKFile(mesh.comm, str(path), "w")
        return file, lambda t: file.write_function(functions, t)

    _by_dolfinx(solution, max(solution.field.degrees), opened, instants)


def _write_vtx(solution: Any, path: Path, instants: Sequence[float]) -> None:
    def opened(dolfinx: Any, mesh: Any, functions: Any) -> Any:
        file = dolfinx.io.VTXWriter(mesh.comm, str(path), functions)
        return file, file.write

    _by_dolfinx(solution, max(solution.field.degrees), opened, instants)


def _write_vtkhdf(solution: Any, path: Path, instants: Sequence[float]) -> None:
    """One part, whose points and cells serve all steps."""
    import h5py

    field = solution.field
    points, cells = pieces(field, max(field.degrees))
    steps, count = len(instants), len(points)
    with h5py.File(path, "w") as file:
        root = file.create_group("VTKHDF")
        root.attrs["Version"] = (2, 0)
        root.attrs.create("Type", np.bytes_("UnstructuredGrid"))
        root["NumberOfPoints"] = np.array([count])
        root["NumberOfCells"] = np.array([len(cells)])
        root["NumberOfConnectivityIds"] = np.array([cells.size])
        root["Points"] = np.pad(points, ((0, 0), (0, 3 - field.dim)))
        root["Connectivity"] = cells.reshape(-1)
        root["Offsets"] = np.arange(len(cells) + 1) * cells.shape[1]
        root["Types"] = np.full(len(cells), kind_of(field.dim, cells.shape[1]).vtk, np.uint8)
        data = root.create_group("PointData")
        sets = [data.create_dataset(n, (steps * count,), np.float64) for n in _names(solution)]
        for k, instant in enumerate(instants):
            values = values_at(solution, points, instant)
            for dataset, column in zip(sets, values.T, strict=True):
                dataset[k * count : (k + 1) * count] = column
        if not field.frames:
            return
        series = root.create_group("Steps")
        series.attrs["NSteps"] = steps
        series["Values"] = np.array(instants)
        series["NumberOfParts"] = np.ones(steps, np.int64)
        for name in ("PartOffsets", "PointOffsets"):
            series[name] = np.zeros(steps, np.int64)
        for name in ("CellOffsets", "ConnectivityIdOffsets"):
            series[name] = np.zeros((steps, 1), np.int64)
        offsets = series.create_group("PointDataOffsets")
        for name in _names(solution):
            offsets[name] = np.arange(steps) * count


WRITERS: dict[str, Callable[[Any, Path, Sequence[float]], None]] = {
    ".xdmf": _write_xdmf,
    ".pvd": _write_vtk,
    ".bp": _write_vtx,
    ".vtkhdf": _write_vtkhdf,
}
"""What writes each format, by the ending of its name."""
