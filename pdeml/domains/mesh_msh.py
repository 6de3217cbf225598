"""Gmsh's text files of version 2.2 and 4.1.

Every number is taken from the text that is there, so no count in a file makes anything be
allocated that the file does not hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import sympy as sp

from pdeml.domains.mesh_checks import UNNAMED
from pdeml.domains.mesh_kinds import FACET, KINDS, Kind, kind_of
from pdeml.domains.mesh_tags import MeshParts, dropped, named_by_tag, without_zeros
from pdeml.engine import write_text
from pdeml.errors import InvalidMesh

if TYPE_CHECKING:
    from pdeml.domains.mesh import Mesh

MAX_FILE_BYTES = 2**30

# Elements are there once for each physical group of their entity.
MAX_GROUPS = 10

BY_NUMBER = {kind.gmsh: kind for kind in KINDS}


class Elements(NamedTuple):
    """Elements of one kind.

    Attributes
    ----------
    tags : number of each element, shape (K,).
    nodes : numbers of its nodes, shape (K, k).
    groups : its physical group, 0 for none, shape (K,); an element of two groups is there twice.
    """

    tags: np.ndarray
    nodes: np.ndarray
    groups: np.ndarray


class _Numbers:
    """The numbers of a section, taken one after the other."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.values = np.array(text.split(), dtype=np.float64)
        except ValueError as error:
            raise InvalidMesh(
                f"the section ${name} holds other things than numbers: {error}."
            ) from None
        self.place = 0

    def take(self, count: int) -> np.ndarray:
        """The next ``count`` numbers."""
        if not 0 <= count <= len(self.values) - self.place:
            raise InvalidMesh(
                f"the section ${self.name} ends after {len(self.values)} numbers, where {count} "
                "more are declared."
            )
        self.place += count
        return self.values[self.place - count : self.place]

    def integers(self, count: int) -> np.ndarray:
        """The next ``count`` numbers, which must be integers."""
        return _whole(self.take(count), self.name)

    def rows(self, count: int, width: int) -> np.ndarray:
        """The next ``count`` rows of ``width`` numbers."""
        return self.take(width * count).reshape(-1, width)

    def finish(self) -> None:
        """Refuse numbers that no count announced."""
        if self.place < len(self.values):
            raise InvalidMesh(
                f"the section ${self.name} has {len(self.values)} numbers, of which "
                f"{self.place} are declared."
            )


def read_msh(path: str | os.PathLike[str], coordinates: Sequence[sp.Symbol]) -> MeshParts:
    """Arguments of `Mesh` from a file.

    Raises
    ------
    InvalidMesh
        If the file is binary, of another version, damaged, or has curved cells or several kinds.
    """
    if (size := os.stat(path).st_size) > MAX_FILE_BYTES:
        raise InvalidMesh(f"the file has {size} bytes; at most {MAX_FILE_BYTES} are read.")
    data = Path(path).read_bytes()
    header = re.match(rb"\s*\$MeshFormat\s+(\S{1,10})\s+([01])\s", data)
    if header is None:
        raise InvalidMesh("the file does not begin with $MeshFormat: it is no .msh file.")
    version, binary = header[1].decode("latin-1"), header[2] == b"1"
    if version not in ("2.2", "4.1") or binary:
        raise InvalidMesh(
            f"the file is of version {version}{', binary' if binary else ''}; text of version 4.1 "
            "or 2.2 is read. Convert it: gmsh FILE -save -format msh41 -bin 0 -o OUT.msh"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidMesh("the file is damaged: it is no text.") from None
    sections = _sections(text.replace("\r\n", "\n"))
    for name in ("Nodes", "Elements"):
        if name not in sections:
            raise InvalidMesh(f"the file has no complete section ${name}.")
    read = _nodes_4, _elements_4
    if version == "2.2":
        read = _nodes_2, _elements_2
    tags, points = read[0](_Numbers("Nodes", sections["Nodes"]))
    elements = read[1](sections)
    return _assembled(tags, points, elements, _names(sections), coordinates)


def _whole(values: np.ndarray, section: str) -> np.ndarray:
    """Floats that must be integers."""
    if not (np.abs(values) < 2**53).all() or (values != np.floor(values)).any():
        raise InvalidMesh(f"the section ${section} has a fraction where a number belongs.")
    return values.astype(np.int64)


def _sections(text: str) -> dict[str, str]:
    found = {}
    for name in ("PhysicalNames", "Entities", "Nodes", "Elements"):
        begin = text.find(f"\n${name}\n")
        end = text.find(f"\n$End{name}", begin)
        if 0 <= begin < end:
            found[name] = text[begin + len(name) + 3 : end]
    return found


def _assembled(
    tags: np.ndarray,
    points: np.ndarray,
    elements: dict[Kind, Elements],
    names: dict[tuple[int, int], str],
    coordinates: Sequence[sp.Symbol],
) -> MeshParts:
    dim = len(coordinates)
    order = np.argsort(tags, kind="stable")
    if (np.diff(tags[order]) == 0).any():
        raise InvalidMesh("a node's number is repeated.")
    present = [kind for kind, rows in elements.items() if len(rows.tags)]
    if any(kind.dim > dim for kind in present):
        raise InvalidMesh(
            f"the file has cells of dimension {max(kind.dim for kind in present)}, but {dim} "
            "coordinates were given."
        )
    kinds = [kind for kind in present if kind.dim == dim]
    if len(kinds) > 1:
        raise InvalidMesh(
            f"the file has cells of several kinds, {' and '.join(kind.name for kind in kinds)}; "
            "those of a Mesh are all of one. Recombine all of them, or none."
        )
    if not kinds:
        raise InvalidMesh(f"the file has no cells of dimension {dim}.")

    def indexed(nodes: np.ndarray) -> np.ndarray:
        place = np.searchsorted(tags[order], nodes).clip(max=len(tags) - 1)
        if (tags[order][place] != nodes).any():
            raise InvalidMesh("an element has a node that the file does not hold.")
        return order[place]

    cells = elements[kinds[0]]
    first = np.argsort(cells.tags, kind="stable")
    cells = Elements(*(column[first] for column in cells))
    regions = named_by_tag(np.arange(len(cells.tags)), cells.groups, _of(names, dim))
    parts = {}
    if FACET[kinds[0]] in elements:
        facets = elements[FACET[kinds[0]]]
        parts = named_by_tag(indexed(facets.nodes), facets.groups, _of(names, dim - 1))
    vertices = without_zeros(points, dim)
    # Nodes of the geometry, such as centres of circles, may belong to no cell.
    return MeshParts(coordinates, *dropped(vertices, indexed(cells.nodes), parts), regions)


def _of(names: dict[tuple[int, int], str], dim: int) -> dict[int, str]:
    return {tag: name for (of, tag), name in names.items() if of == dim}


def _names(sections: dict[str, str]) -> dict[tuple[int, int], str]:
    text = sections.get("PhysicalNames", "")
    rows = re.findall(r'^[ \t]*(\d)[ \t]+(\d{1,9})[ \t]+"(.*)"[ \t]*$', text, re.MULTILINE)
    return {(int(dim), int(tag)): name for dim, tag, name in rows}


def _nodes_2(numbers: _Numbers) -> tuple[np.ndarray, np.ndarray]:
    (count,) = numbers.integers(1).tolist()
    rows = numbers.rows(count, 4)
    numbers.finish()
    return _whole(rows[:, 0], numbers.name), rows[:, 1:]


def _elements_2(sections: dict[str, str]) -> dict[Kind, Elements]:
    numbers = _Numbers("Elements", sections["Elements"])
    (count,) = numbers.integers(1).tolist()
    rows: dict[Kind, list[list[int]]] = {}
    for _ in range(count):
        tag, number, extra = numbers.integers(3).tolist()
        kind = _kind(number)
        group = numbers.integers(extra).tolist()[:1] or [0]
        rows.setdefault(kind, []).append([tag, *group, *numbers.integers(kind.corners).tolist()])
    numbers.finish()
    tables = {kind: np.array(table) for kind, table in rows.items()}
    return {kind: Elements(t[:, 0], t[:, 2:], t[:, 1]) for kind, t in tables.items()}


def _nodes_4(numbers: _Numbers) -> tuple[np.ndarray, np.ndarray]:
    blocks, _, _, _ = numbers.integers(4).tolist()
    tags, points = [np.empty(0, dtype=np.int64)], [np.empty((0, 3))]
    for _ in range(blocks):
        dim, _, parametric, count = numbers.integers(4).tolist()
        if not 0 <= dim <= 3:
            raise InvalidMesh(f"the section $Nodes has a block of dimension {dim}, not of 0 to 3.")
        tags.append(numbers.integers(count))
        points.append(numbers.rows(count, 3 + (dim if parametric else 0))[:, :3])
    numbers.finish()
    return np.concatenate(tags), np.concatenate(points)


def _elements_4(sections: dict[str, str]) -> dict[Kind, Elements]:
    groups = _groups_of_entities(sections)
    numbers = _Numbers("Elements", sections["Elements"])
    blocks, _, _, _ = numbers.integers(4).tolist()
    found: dict[Kind, list[Elements]] = {}
    for _ in range(blocks):
        _, entity, number, count = numbers.integers(4).tolist()
        kind = _kind(number)
        width = kind.corners + 1
        rows = numbers.integers(width * count).reshape(-1, width)
        for group in groups.get((kind.dim, entity), [0]):
            labels = np.full(count, group)
            found.setdefault(kind, []).append(Elements(rows[:, 0], rows[:, 1:], labels))
    numbers.finish()
    return {
        kind: Elements(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        for kind, parts in found.items()
    }


def _groups_of_entities(sections: dict[str, str]) -> dict[tuple[int, int], list[int]]:
    if "Entities" not in sections:
        return {}
    numbers = _Numbers("Entities", sections["Entities"])
    groups = {}
    for dim, count in enumerate(numbers.integers(4).tolist()):
        for _ in range(count):
            (tag,) = numbers.integers(1).tolist()
            numbers.take(6 if dim else 3)
            (physical,) = numbers.integers(1).tolist()
            if physical > MAX_GROUPS:
                raise InvalidMesh(f"an entity is in {physical} groups; at most {MAX_GROUPS}.")
            mine = np.abs(numbers.integers(physical)).tolist()
            if mine:
                groups[dim, tag] = mine
            if dim:
                numbers.take(numbers.integers(1).tolist()[0])
    numbers.finish()
    return groups


def _kind(number: int) -> Kind:
    if number not in BY_NUMBER:
        known = ", ".join(f"{kind.name} ({kind.gmsh})" for kind in KINDS)
        raise InvalidMesh(
            f"the file has elements of gmsh's type {number}; a Mesh has straight ones: {known}."
        )
    return BY_NUMBER[number]


def write_msh(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write text of version 4.1; the cells keep their order by their numbers.

    All cells are in a physical group: other programs leave out or refuse those that are in none.
    """
    dim, count = mesh.dim, len(mesh.vertices)
    lower, upper = (" ".join(_padded(corner)) for corner in mesh.bounds)
    facets = mesh.named_facets
    groups = [f'{dim - 1} {tag} "{name}"' for tag, name in enumerate(facets, 1)]
    cell = kind_of(dim, mesh.cells.shape[1])
    blocks = [(FACET[cell], tag, rows) for tag, rows in enumerate(facets.values(), 1)]
    total = sum(map(len, facets.values()))
    entities: list[list[str]] = [[], [], [], []]
    box = lower if dim == 1 else f"{lower} {upper}"
    end = "" if dim == 1 else " 0"
    entities[dim - 1] = [f"{tag} {box} 1 {tag}{end}" for tag in range(1, len(facets) + 1)]
    ends = np.cumsum([len(rows) for rows in facets.values()])
    numbers = np.split(np.arange(1, total + 1), ends[:-1])
    for tag, name in enumerate((*mesh.regions, UNNAMED), 1):
        cells = np.flatnonzero(mesh.cell_regions == (tag - 1 if name in mesh.regions else -1))
        if len(cells):
            entities[dim].append(f"{tag} {lower} {upper} 1 {tag} 0")
            groups.append(f'{dim} {tag} "{name}"')
            blocks.append((cell, tag, mesh.cells[cells]))
            numbers.append(cells + total + 1)
    home = blocks[-1][1]
    elements = [f"{len(blocks)} {total + len(mesh.cells)} 1 {total + len(mesh.cells)}"]
    for (of, tag, rows), mine in zip(blocks, numbers, strict=True):
        elements.append(f"{of.dim} {tag} {of.gmsh} {len(rows)}")
        table = np.concatenate([mine[:, None], rows + 1], axis=1)
        elements += [" ".join(map(str, row)) for row in table.tolist()]
    lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$PhysicalNames", str(len(groups))]
    lines += [*groups, "$EndPhysicalNames", "$Entities"]
    lines += [" ".join(str(len(group)) for group in entities)]
    lines += [line for group in entities for line in group]
    lines += ["$EndEntities", "$Nodes", f"1 {count} 1 {count}", f"{dim} {home} 0 {count}"]
    lines += [str(number) for number in range(1, count + 1)]
    lines += [" ".join(_padded(vertex)) for vertex in mesh.vertices.tolist()]
    lines += ["$EndNodes", "$Elements", *elements, "$EndElements", ""]
    write_text(path, "\n".join(lines))


def _padded(point: Sequence[float]) -> list[str]:
    return [repr(float(value)) for value in (*point, 0.0, 0.0)][:3]
