"""STL files, text and binary."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from pdeml.errors import InvalidMesh

MAX_FILE_BYTES = 2**30
HEADER_BYTES, TRIANGLE_BYTES = 84, 50

NUMBER = rb"\s+([-+.0-9eEinfaINFA]{1,40})"
VERTEX = re.compile(rb"\bvertex" + NUMBER * 3 + rb"(?=\s)", re.IGNORECASE)
SOLID = re.compile(rb"^[ \t]*solid\b(.*)$", re.IGNORECASE | re.MULTILINE)
FACET = re.compile(rb"\bfacet\s+normal\b", re.IGNORECASE)


def read_stl(
    path: str | os.PathLike[str],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices (V, 3), triangles (F, 3) and the triangles of each named solid.

    STL repeats a vertex in every triangle: equal ones are merged, and triangles dropped of which
    two corners are equal. The normals in the file are not used.

    Raises
    ------
    InvalidMesh
        If the file is damaged.
    """
    if (size := os.stat(path).st_size) > MAX_FILE_BYTES:
        raise InvalidMesh(f"the file has {size} bytes; at most {MAX_FILE_BYTES} are read.")
    data = Path(path).read_bytes()
    count = int.from_bytes(data[80:84], "little")
    # A binary header may begin with "solid" too: its size tells.
    if len(data) >= HEADER_BYTES and len(data) == HEADER_BYTES + TRIANGLE_BYTES * count:
        corners, solids = _binary(data), np.zeros(count, dtype=int)
        names = [""]
    elif data.lstrip()[:5].lower() == b"solid":
        corners, solids, names = _text(data)
    else:
        raise InvalidMesh(
            f"the file is no STL: it neither begins with 'solid' nor has the size of {count} "
            "binary triangles."
        )
    if not len(corners):
        raise InvalidMesh("the file has no triangles.")
    # Adding zero makes −0.0 the same as 0.0.
    vertices, number = np.unique(corners.reshape(-1, 3) + 0.0, axis=0, return_inverse=True)
    triangles = number.reshape(-1, 3)
    whole = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    triangles, solids = triangles[whole], solids[whole]
    used, number = np.unique(triangles, return_inverse=True)
    parts: dict[str, np.ndarray] = {}
    for index, name in enumerate(names):
        mine = np.flatnonzero(solids == index)
        if name and len(mine):
            parts[name] = np.concatenate([parts.get(name, mine[:0]), mine])
    return vertices[used], number.reshape(triangles.shape), parts


def _binary(data: bytes) -> np.ndarray:
    layout = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    corners = np.frombuffer(data, layout, offset=HEADER_BYTES)["corners"]
    if not np.isfinite(corners).all():
        raise InvalidMesh("the file has a vertex that is NaN or infinite.")
    return corners.astype(np.float64)


def _text(data: bytes) -> tuple[np.ndarray, np.ndarray, list[str]]:
    found = list(VERTEX.finditer(data))
    facets = len(FACET.findall(data))
    if len(found) != 3 * facets or b"endsolid" not in data[-1000:].lower():
        raise InvalidMesh(
            f"the file is damaged: {facets} facets have {len(found)} vertices, and it "
            f"{'ends' if b'endsolid' in data[-1000:].lower() else 'does not end'} with 'endsolid'."
        )
    try:
        corners = np.array([match.groups() for match in found], dtype=np.float64)
    except ValueError as error:
        raise InvalidMesh(f"the file has a vertex that is no number: {error}.") from None
    starts = list(SOLID.finditer(data))
    names = [match[1].decode("utf-8", "replace").strip()[:100].strip() for match in starts]
    places = np.searchsorted([m.start() for m in starts], [m.start() for m in found[::3]]) - 1
    return corners.reshape(-1, 3, 3), places, names
