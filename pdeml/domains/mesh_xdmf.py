"""XDMF files with HDF5 arrays beside them, in the layout that DOLFINx reads and writes.

One ``Grid`` holds the mesh, others the tags of its cells and facets; the names of the tags are
JSON text in an ``Information`` element called as the tags' grid. Nothing is resolved: entities,
includes and files of another folder are refused or left alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
import sympy as sp

from pdeml.domains.mesh_kinds import FACET, KINDS, Kind, kind_of
from pdeml.domains.mesh_tags import MeshParts, named_by_tag, without_zeros
from pdeml.engine import READ_ERRORS, write_bytes, write_text
from pdeml.errors import InvalidMesh, OutputError
from pdeml.hdf5 import refuse_unsafe

if TYPE_CHECKING:
    from pdeml.domains.mesh import Mesh

MAX_TEXT_BYTES = 2**26
MAX_ELEMENTS = 10_000
MAX_DEPTH = 32
MAX_NUMBERS = 2**28

TOPOLOGIES = {kind.xdmf.lower(): kind for kind in KINDS}
GROUPS = {"Mesh", "MeshTags"}
INTEGERS = 'NumberType="Int" Precision="4"'
FLOATS = 'NumberType="Float" Precision="8"'


def read_xdmf(path: str | os.PathLike[str], coordinates: Sequence[sp.Symbol]) -> MeshParts:
    """Arguments of `Mesh` from a file.

    Raises
    ------
    InvalidMesh
        If the file is damaged or hostile, or has no grid of cells of that dimension.
    """
    domain = _parsed(Path(path)).find("Domain")
    every = [] if domain is None else list(domain.iter("Grid"))
    grids = [grid for grid in every if grid.find("Topology") is not None]
    dim, folder = len(coordinates), _Folder(Path(path).parent, _digest(domain))
    mesh = next((grid for grid in grids if grid.find("Geometry") is not None), None)
    if domain is None or mesh is None:
        raise InvalidMesh("the file has no Grid with Topology and Geometry.")
    if (kind := _kind(mesh)).dim != dim:
        raise InvalidMesh(f"its cells have dimension {kind.dim}, but {dim} coordinates were given.")
    vertices = without_zeros(_array(mesh.find("Geometry/DataItem"), folder, "fiu"), dim)
    cells = _topology(mesh, folder)
    parts: dict[str, np.ndarray] = {}
    regions: dict[str, np.ndarray] = {}
    for grid in grids:
        attribute = grid.find("Attribute")
        if attribute is None or attribute.get("Center") != "Cell":
            continue
        tags = _array(attribute.find("DataItem"), folder, "iu").reshape(-1)
        names = _names(domain, grid.get("Name", ""))
        entities = cells if grid is mesh else _topology(grid, folder)
        if len(tags) != len(entities):
            raise InvalidMesh(f"it has {len(tags)} tags for {len(entities)} cells or facets.")
        of = _kind(grid)
        if of == kind:
            place = np.arange(len(cells)) if grid is mesh else _places(entities, cells)
            added, target = named_by_tag(place, tags, names), regions
        elif of == FACET[kind]:
            added, target = named_by_tag(entities, tags, names), parts
        else:
            continue
        if added.keys() & target.keys():
            raise InvalidMesh(f"two grids have tags called {min(added.keys() & target.keys())!r}.")
        target |= added
    return MeshParts(coordinates, vertices, cells, parts, regions)


def _places(some: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Index of each of some cells among all of them."""
    rows = np.sort(cells, axis=1).tolist()
    place = {tuple(row): index for index, row in enumerate(rows)}
    found = np.array([place.get(tuple(row), -1) for row in np.sort(some, axis=1).tolist()])
    if (found < 0).any():
        raise InvalidMesh(f"a tag is for the cell {some[found < 0][0].tolist()}, which is none.")
    return found


def _kind(grid: Element) -> Kind:
    topology = grid.find("Topology")
    kind = "" if topology is None else topology.get("TopologyType", "")
    if kind.lower() not in TOPOLOGIES:
        raise InvalidMesh(
            f"a grid has cells of type {kind!r}; those of a Mesh are "
            f"{', '.join(known.xdmf for known in KINDS)}."
        )
    return TOPOLOGIES[kind.lower()]


def _topology(grid: Element, folder: _Folder) -> np.ndarray:
    rows = _array(grid.find("Topology/DataItem"), folder, "iu")
    width = _kind(grid).corners
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InvalidMesh(f"a topology has shape {rows.shape}; {width} vertices per cell fit it.")
    return rows.astype(np.int64)


def _names(domain: Element, grid: str) -> dict[int, str]:
    for entry in domain.iter("Information"):
        if grid and entry.get("Name") == grid:
            try:
                names = json.loads(entry.get("Value", ""))
                return {int(tag): str(name) for tag, name in names.items()}
            except (ValueError, AttributeError, RecursionError):
                raise InvalidMesh(f"the names of the tags {grid!r} are no JSON table.") from None
    return {}


def _parsed(path: Path) -> Element:
    """The root of an XML file, without entities, of bounded size."""
    if (size := os.stat(path).st_size) > MAX_TEXT_BYTES:
        raise InvalidMesh(f"the file has {size} bytes; at most {MAX_TEXT_BYTES} are read.")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    opened = [0, 0]

    def start(tag: str, attributes: dict[str, str]) -> None:
        opened[0], opened[1] = opened[0] + 1, opened[1] + 1
        if opened[0] > MAX_ELEMENTS or opened[1] > MAX_DEPTH:
            raise InvalidMesh("the file has more elements, or deeper ones, than a mesh needs.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        opened[1] -= 1
        builder.end(tag)

    def refuse(*_: Any) -> Any:
        raise InvalidMesh("the file declares XML entities, which no mesh needs.")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        root = builder.close()
    except expat.ExpatError as error:
        raise InvalidMesh(f"the file is no valid XML: {error}.") from None
    if root.tag != "Xdmf":
        raise InvalidMesh(f"its root is <{root.tag[:40]}>, not <Xdmf>.")
    return root


def _array(item: Element | None, folder: _Folder, kinds: str) -> np.ndarray:
    """The numbers of a DataItem."""
    if item is None:
        raise InvalidMesh("a Topology, Geometry or Attribute has no DataItem.")
    text, sizes = (item.text or "").strip(), item.get("Dimensions", "").split()
    if not 1 <= len(sizes) <= 2 or not all(s.isdecimal() and len(s) < 12 for s in sizes):
        raise InvalidMesh(f"a DataItem has Dimensions {item.get('Dimensions', '')[:40]!r}.")
    shape = tuple(map(int, sizes))
    if math.prod(shape) > MAX_NUMBERS:
        raise InvalidMesh(f"a DataItem has {math.prod(shape)} numbers; at most {MAX_NUMBERS}.")
    form = item.get("Format", "XML").upper()
    try:
        if form == "XML":
            words = text.split()
            if len(words) != math.prod(shape):
                raise InvalidMesh(f"a DataItem of {shape} holds {len(words)} numbers.")
            return np.array(words, dtype=np.float64 if "f" in kinds else np.int64).reshape(shape)
        if form == "HDF":
            return _hdf5_array(text, shape, folder, kinds)
    except InvalidMesh:
        raise
    except READ_ERRORS as error:
        raise InvalidMesh(f"the data {text[:80]!r} cannot be read: {error}") from None
    raise InvalidMesh(f"a DataItem has Format {form[:20]!r}; XML and HDF are read.")


class _Folder:
    """The files beside a text, each opened once it has the digest that the text states and nothing
    that `refuse_unsafe` finds."""

    def __init__(self, path: Path, digest: str | None) -> None:
        self.path, self.digest = path, digest
        self.checked: set[str] = set()

    def file(self, name: str) -> Path:
        """The path of a file of the folder itself.

        Raises
        ------
        InvalidMesh
            If it is elsewhere, missing, damaged or unsafe.
        """
        path = self.path / name
        # Links are followed first: neither they nor ".." lead out of the folder.
        if Path(os.path.realpath(path)).parent != Path(os.path.realpath(self.path)):
            raise InvalidMesh(
                f"it refers to {name[:80]!r}; only files of the same folder are read."
            )
        if not path.is_file():
            raise InvalidMesh(f"its data are in {name!r}, which is not beside it.")
        if name in self.checked:
            return path
        if self.digest is not None:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
                    raise InvalidMesh(
                        f"{name!r} is damaged or of another mesh: its digest differs."
                    )
        refuse_unsafe(path, error=InvalidMesh)
        self.checked.add(name)
        return path


def _digest(domain: Element | None) -> str | None:
    found = None if domain is None else domain.find("Information[@Name='sha256']")
    return None if found is None else found.get("Value")


def _hdf5_array(reference: str, shape: tuple[int, ...], folder: _Folder, kinds: str) -> np.ndarray:
    import h5py

    name, _, inside = reference.partition(":")
    with h5py.File(folder.file(name), "r") as file:
        node = file.get(inside) if inside.strip("/") else None
        if not isinstance(node, h5py.Dataset):
            raise InvalidMesh(f"{name!r} has no data set {inside[:80]!r}.")
        if node.dtype.kind not in kinds:
            raise InvalidMesh(f"{name!r}: {node.name!r} holds {node.dtype}, not numbers.")
        if node.shape != shape:
            raise InvalidMesh(
                f"{name!r}: {node.name!r} has shape {node.shape}, where {shape} is declared."
            )
        return node[()].astype(np.float64 if "f" in kinds else np.int64)


def write_xdmf(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write the mesh, then the text that refers to it.

    Raises
    ------
    OutputError
        If a file of the arrays' name is there that does not belong to this text.
    """
    target = Path(path)
    data = target.with_suffix(".h5")
    if data.exists() and not (target.exists() and _holds_a_mesh(data)):
        raise OutputError(
            f"{str(target)!r} would replace {data.name!r}, which belongs to something else; "
            "give another name, or remove that file."
        )
    facets = mesh.named_facets
    tagged = np.flatnonzero(mesh.cell_regions >= 0)
    arrays = {"Mesh/mesh/topology": mesh.cells, "Mesh/mesh/geometry": mesh.vertices}
    cell = kind_of(mesh.dim, mesh.cells.shape[1])
    tags = [("facet_tags", FACET[cell], list(facets))]
    arrays["MeshTags/facet_tags/topology"] = np.concatenate(list(facets.values()))
    arrays["MeshTags/facet_tags/Values"] = np.repeat(
        np.arange(1, len(facets) + 1), [len(rows) for rows in facets.values()]
    )[:, None]
    if len(tagged):
        tags.append(("cell_tags", cell, list(mesh.regions)))
        arrays["MeshTags/cell_tags/topology"] = mesh.cells[tagged]
        arrays["MeshTags/cell_tags/Values"] = mesh.cell_regions[tagged][:, None] + 1
    if mesh.dim == 1:
        # XDMF has no geometry of one coordinate.
        arrays["Mesh/mesh/geometry"] = np.pad(mesh.vertices, ((0, 0), (0, 1)))
    image = _image(arrays)
    write_bytes(data, image)

    def item(name: str, kind: str) -> str:
        sizes = " ".join(map(str, arrays[name].shape))
        place = quoteattr(f"{data.name}:/{name}")[1:-1]
        return f'<DataItem Dimensions="{sizes}" {kind} Format="HDF">{place}</DataItem>'

    def topology(name: str, kind: Kind) -> str:
        return (
            f'<Topology TopologyType="{kind.xdmf}" NumberOfElements="{len(arrays[name])}" '
            f'NodesPerElement="{kind.corners}">{item(name, INTEGERS)}</Topology>'
        )

    width = arrays["Mesh/mesh/geometry"].shape[1]
    lines = ['<?xml version="1.0"?>', '<Xdmf Version="3.0">', "<Domain>"]
    lines += [f'<Information Name="sha256" Value="{hashlib.sha256(image).hexdigest()}"/>']
    lines += ['<Grid Name="mesh" GridType="Uniform">', topology("Mesh/mesh/topology", cell)]
    lines += [f'<Geometry GeometryType="{"XYZ"[:width]}">']
    lines += [item("Mesh/mesh/geometry", FLOATS), "</Geometry>", "</Grid>"]
    for grid, kind, names in tags:
        lines += [f'<Grid Name="{grid}" GridType="Uniform">']
        lines += [topology(f"MeshTags/{grid}/topology", kind)]
        lines += [f'<Attribute Name="{grid}" AttributeType="Scalar" Center="Cell">']
        lines += [item(f"MeshTags/{grid}/Values", INTEGERS), "</Attribute>", "</Grid>"]
        text = json.dumps({str(tag): name for tag, name in enumerate(names, 1)})
        lines += [f'<Information Name="{grid}" Value={quoteattr(text)}/>']
    write_text(target, "\n".join([*lines, "</Domain>", "</Xdmf>", ""]))


def _holds_a_mesh(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return set(file) <= GROUPS
    except READ_ERRORS:
        return False


def _image(arrays: dict[str, np.ndarray]) -> bytes:
    """An HDF5 file of these arrays; the same arrays give the same bytes."""
    import h5py

    with h5py.File("mesh.h5", "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            # Neither chunks nor filters: parallel builds of HDF5 read few of them.
            small = array.astype(np.int32) if array.dtype.kind == "i" else array
            file.create_dataset(name, data=small)
        file.flush()
        return file.id.get_file_image()
