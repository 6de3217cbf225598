"""Mesh files: exact round trips, files of other programs, damaged and hostile ones."""

import hashlib
import os
import re
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from pdeml.domains import Box, Interval, Mesh, Rectangle, Surface
from pdeml.errors import InvalidMesh, InvalidOption, OutputError
from tests.domains.meshes import annulus, delaunay, disk, spiky, x, y, z

MESHES = Path(__file__).parents[2] / "meshes"


def tagged(dim):
    """A mesh with parts, an interface, regions and cells without one."""
    kinds = (
        Interval(x, -1, 2),
        Rectangle((x, y), (0, 0), (1, 2)),
        Box((x, y, z), (0,) * 3, (1,) * 3),
    )
    mesh = Mesh.structured(kinds[dim - 1], 4)
    middle = mesh.vertices[mesh.cells].mean(axis=1)[:, 0]
    regions = {"lower half": np.flatnonzero(middle < 0.3), "<&'ü>": np.flatnonzero(middle > 0.6)}
    inner = set(map(tuple, np.sort(mesh.cells[:, 1:], axis=1).tolist()))
    inner -= set(map(tuple, np.sort(mesh.facets, axis=1).tolist()))
    parts = {**mesh.named_facets, "interface": np.array(sorted(inner))}
    scale = np.random.default_rng(dim).uniform(0.9, 1.1, mesh.vertices.shape[1])
    return Mesh(mesh.coordinates, mesh.vertices * scale / 3, mesh.cells, parts, regions)


def same(one, two):
    assert one == two
    assert one.vertices.tobytes() == two.vertices.tobytes()
    assert np.array_equal(one.cells, two.cells)
    assert one.parts == two.parts and one.regions == two.regions
    for name, rows in one.named_facets.items():
        assert np.array_equal(rows, two.named_facets[name])
    for name, rows in one.named_cells.items():
        assert np.array_equal(rows, two.named_cells[name])


@pytest.mark.parametrize("ending", ["xdmf", "msh"])
@pytest.mark.parametrize(
    "mesh",
    [*map(tagged, (1, 2, 3)), *map(delaunay, (1, 2, 3)), annulus(), disk(3)],
    ids=lambda mesh: f"{mesh.dim}-{len(mesh.cells)}",
)
def test_round_trips_are_exact(tmp_path, mesh, ending):
    path = tmp_path / f"a & b.{ending}"
    for _ in range(2):  # an older file of the same name is replaced
        mesh.write(path)
        same(Mesh.read(path, mesh.coordinates), mesh)
    content = path.read_bytes()
    mesh.write(path)
    assert path.read_bytes() == content


def test_coordinates_must_fit(tmp_path):
    for ending in ("xdmf", "msh"):
        path = tmp_path / f"disk.{ending}"
        disk(2).write(path)
        for coordinates in ((x,), (x, y, z)):
            with pytest.raises(InvalidMesh, match=f"disk.{ending}.*(dimension|coordinates)"):
                Mesh.read(path, coordinates)
    with pytest.raises(InvalidOption, match=r"\.xdmf or \.msh"):
        Mesh.read("mesh.vtk", (x, y))
    with pytest.raises(InvalidOption, match=r"\.xdmf or \.msh"):
        disk(2).write("mesh.vtk")
    with pytest.raises(FileNotFoundError):
        Mesh.read(tmp_path / "none.xdmf", (x, y))


def test_arrays_of_something_else_are_not_overwritten(tmp_path):
    data = tmp_path / "run.h5"
    with h5py.File(data, "w") as file:
        file["solution"] = np.arange(3)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"run\.h5.*belongs to something else"):
            disk(2).write(tmp_path / "run.xdmf")
        (tmp_path / "run.xdmf").write_text("")
    with h5py.File(data, "r") as file:
        assert file["solution"][:].tolist() == [0, 1, 2]


# Files of other programs

DOLFINX = """<?xml version="1.0"?>
<!DOCTYPE Xdmf SYSTEM "Xdmf.dtd" []>
<Xdmf Version="3.0" xmlns:xi="https://www.w3.org/2001/XInclude">
  <Domain>
    <Grid Name="mesh" GridType="Uniform">
      <Topology TopologyType="Triangle" NumberOfElements="2" NodesPerElement="3">
        <DataItem Dimensions="2 3" NumberType="Int" Format="HDF">s.h5:/Mesh/mesh/topology</DataItem>
      </Topology>
      <Geometry GeometryType="XY">
        <DataItem Dimensions="4 2" Format="HDF">s.h5:/Mesh/mesh/geometry</DataItem>
      </Geometry>
    </Grid>
    <Grid Name="facets" GridType="Uniform">
      <xi:include xpointer="xpointer(/Xdmf/Domain/Grid/Geometry)" />
      <Topology TopologyType="PolyLine" NumberOfElements="3" NodesPerElement="2">
        <DataItem Dimensions="3 2" NumberType="Int" Format="HDF">s.h5:/Tags/f/topology</DataItem>
      </Topology>
      <Attribute Name="facets" AttributeType="Scalar" Center="Cell">
        <DataItem Dimensions="3 1" Format="HDF">s.h5:/Tags/f/Values</DataItem>
      </Attribute>
    </Grid>
    <Information Name="facets" Value="{&quot;7&quot;: &quot;inlet&quot;}" />
  </Domain>
</Xdmf>
"""


def dolfinx(folder, text=DOLFINX, **arrays):
    data = {
        "Mesh/mesh/topology": np.array([[0, 1, 2], [3, 2, 0]]),
        "Mesh/mesh/geometry": np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        "Tags/f/topology": np.array([[0, 1], [1, 2], [2, 3]]),
        "Tags/f/Values": np.array([[7], [7], [9]], dtype=np.int32),
    }
    with h5py.File(folder / "s.h5", "w") as file:
        for name, array in data.items():
            file[name] = array
        for name, change in arrays.items():
            del file[name]
            change(file, name)
    (folder / "s.xdmf").write_text(text)
    return folder / "s.xdmf"


def test_a_file_as_dolfinx_writes_it(tmp_path):
    mesh = Mesh.read(dolfinx(tmp_path), (x, y))
    assert mesh.parts == ("inlet", "9", "untagged")
    assert np.sort(mesh.facets_of("inlet")).tolist() == [[0, 1], [1, 2]]
    assert mesh.volume == 1.0


def test_numbers_inside_the_text_and_tags_of_the_mesh_itself(tmp_path):
    (tmp_path / "a.xdmf").write_text("""<Xdmf><Domain><Grid>
    <Geometry GeometryType="XYZ"><DataItem Dimensions="4 3" Format="XML">
      0 0 0  1 0 0  1 1 0  0 1 0</DataItem></Geometry>
    <Topology TopologyType="Triangle"><DataItem Dimensions="2 3">0 1 2 0 2 3</DataItem></Topology>
    <Attribute Center="Cell"><DataItem Dimensions="2">0 5</DataItem></Attribute>
    <Attribute Center="Node"><DataItem Dimensions="4">0 5 1 1</DataItem></Attribute>
    </Grid></Domain></Xdmf>""")
    mesh = Mesh.read(tmp_path / "a.xdmf", (x, y))
    assert mesh.regions == ("5",) and mesh.cell_regions.tolist() == [-1, 0]


MSH_2 = """$MeshFormat
2.2 0 8
$EndMeshFormat
$PhysicalNames
2
1 3 "inlet"
2 9 "steel plate"
$EndPhysicalNames
$Nodes
5
10 0 0 0
20 1 0 0
30 1 1 0
40 0 1 0
50 7 7 0
$EndNodes
$Elements
5
1 15 2 0 1 50
2 1 2 3 1 10 20
3 1 2 4 2 30 40
5 2 2 9 1 10 30 40
4 2 2 0 1 10 20 30
$EndElements
"""

MSH_4 = """$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
2
1 3 "inlet"
2 9 "steel plate"
$EndPhysicalNames
$Entities
1 3 2 0
1 7 7 0 0
1 0 0 0 1 0 0 1 3 2 1 2
2 0 1 0 1 1 0 1 4 0
3 0 1 0 1 1 0 0 0
1 0 0 0 1 1 0 1 9 0
2 0 0 0 1 1 0 0 0
$EndEntities
$Nodes
2 5 10 50
0 1 0 1
50
7 7 0
2 1 1 4
10
20
30
40
0 0 0 0.5 0.5
1 0 0 0.5 0.5
1 1 0 0.5 0.5
0 1 0 0.5 0.5
$EndNodes
$Elements
6 6 1 6
0 1 15 1
1 50
1 1 1 1
2 10 20
1 2 1 1
3 30 40
1 3 1 1
6 20 30
2 1 2 1
5 10 30 40
2 2 2 1
4 10 20 30
$EndElements
"""


@pytest.mark.parametrize("text", [MSH_2, MSH_4, MSH_4.replace("\n", "\r\n")])
def test_files_of_gmsh(tmp_path, text):
    """Numbers with gaps, nodes of the geometry, parametric nodes, groups without a name."""
    (tmp_path / "a.msh").write_bytes(text.encode())
    mesh = Mesh.read(tmp_path / "a.msh", (x, y))
    assert mesh.vertices.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert mesh.cells.tolist() == [[0, 1, 2], [0, 2, 3]]  # in the order of their numbers
    assert mesh.parts == ("inlet", "4", "untagged")
    assert np.sort(mesh.facets_of("inlet")).tolist() == [[0, 1]]
    assert np.sort(mesh.facets_of("4")).tolist() == [[2, 3]]
    assert mesh.regions == ("steel plate",) and mesh.cell_regions.tolist() == [-1, 0]


@pytest.mark.gmsh
@pytest.mark.parametrize("version", ["gmsh", "gmsh22"])
def test_meshio_reads_what_is_written(tmp_path, version):
    import meshio

    mesh = tagged(2)
    mesh.write(tmp_path / "a.msh")
    read = meshio.read(tmp_path / "a.msh")
    assert np.array_equal(read.points[:, :2], mesh.vertices)
    assert sum(len(block.data) for block in read.cells if block.type == "triangle") == len(
        mesh.cells
    )
    tag = read.field_data["left"][0]
    found = [
        block.data[groups == tag]
        for block, groups in zip(read.cells, read.cell_data["gmsh:physical"], strict=True)
        if block.type == "line"
    ]
    assert sum(map(len, found)) == len(mesh.facets_of("left"))
    if version == "gmsh22":
        meshio.write(tmp_path / "b.msh", read, file_format=version, binary=False)
        again = Mesh.read(tmp_path / "b.msh", mesh.coordinates)
        assert again.parts == mesh.parts and again.volume == pytest.approx(mesh.volume)


# STL


def as_text(surface):
    lines = []
    for index, name in enumerate(surface.parts):
        lines.append(f"solid {name}")
        for facet in surface.facets[surface.facet_parts == index]:
            lines += ["facet normal 0 0 0", "outer loop"]
            lines += [
                "vertex {!r} {!r} {!r}".format(*map(float, surface.vertices[i])) for i in facet
            ]
            lines += ["endloop", "endfacet"]
        lines.append(f"endsolid {name}")
    return "\n".join([*lines, ""]).encode()


def as_binary(surface):
    corners = surface.vertices[surface.facets].astype("<f4")
    records = [bytes(12) + triangle.tobytes() + b"\0\0" for triangle in corners]
    return b"solid by name".ljust(80) + struct.pack("<I", len(records)) + b"".join(records)


def test_stl_as_text_and_binary(tmp_path):
    surface = spiky()
    (tmp_path / "text.stl").write_bytes(as_text(surface))
    text = Surface.read(tmp_path / "text.stl", (x, y, z))
    assert text.parts == surface.parts == ("upper", "untagged")
    assert text.volume == pytest.approx(surface.volume, rel=1e-14)
    for name in surface.parts:
        share = float(surface.boundary_quadrature(name).weights.sum())
        assert float(text.boundary_quadrature(name).weights.sum()) == pytest.approx(
            share, rel=1e-13
        )
    (tmp_path / "binary.STL").write_bytes(as_binary(surface))
    binary = Surface.read(tmp_path / "binary.STL", (x, y, z))
    assert binary.parts == ("boundary",)
    assert len(binary.vertices) == len(surface.vertices)
    assert binary.volume == pytest.approx(surface.volume, rel=1e-6)
    assert binary.area == pytest.approx(surface.area, rel=1e-6)
    # A triangle between two equal corners closes nothing, and is left out.
    corner = binary.vertices[0].astype("<f4").tobytes()
    record = bytes(12) + corner * 2 + binary.vertices[1].astype("<f4").tobytes() + b"\0\0"
    data = bytearray(as_binary(surface) + record)
    data[80:84] = struct.pack("<I", len(surface.facets) + 1)
    (tmp_path / "flat.stl").write_bytes(data)
    assert Surface.read(tmp_path / "flat.stl", (x, y, z)) == binary
    with pytest.raises(InvalidOption, match=r"\.stl"):
        Surface.read("a.obj", (x, y, z))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-1], "no STL|damaged"),
        (lambda data: data[:100], "no STL|damaged"),
        (lambda data: b"", "no STL"),
        (lambda data: data[:80] + struct.pack("<I", 2**32 - 1) + data[84:], "no STL|damaged"),
        (lambda data: data[:80] + struct.pack("<I", 0), "no triangles"),
        (lambda data: data[:96] + struct.pack("<f", float("nan")) + data[100:], "finite|closed"),
        (lambda data: data[:84] + data[134:], "no STL|damaged"),
    ],
)
def test_damaged_binary_stl(tmp_path, change, message):
    (tmp_path / "a.stl").write_bytes(change(as_binary(spiky(8))))
    with pytest.raises(InvalidMesh, match=f"a.stl.*({message})"):
        Surface.read(tmp_path / "a.stl", (x, y, z))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-30],
        lambda data: data.replace(b"vertex", b"vortex", 1),
        lambda data: data.replace(b"facet normal", b"facet", 1),
        lambda data: re.sub(rb"vertex \S+", b"vertex 1e", data, count=1),
        lambda data: data.replace(b"endsolid", b"end"),
    ],
)
def test_damaged_text_stl(tmp_path, change):
    (tmp_path / "a.stl").write_bytes(change(as_text(spiky(8))))
    with pytest.raises(InvalidMesh, match=r"a\.stl"):
        Surface.read(tmp_path / "a.stl", (x, y, z))


# Hostile files

BOMB = """<!DOCTYPE Xdmf [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>"""
OUTSIDE = """<!DOCTYPE Xdmf [<!ENTITY a SYSTEM "file:///etc/hostname">]>"""
PARAMETER = """<!DOCTYPE Xdmf [<!ENTITY % a "<!ENTITY b 'c'>"> %a;]>"""
PLAIN = """<!DOCTYPE Xdmf SYSTEM "Xdmf.dtd" []>"""


@pytest.mark.parametrize(
    "old, new, message",
    [
        (PLAIN, BOMB, "entities"),
        (PLAIN, OUTSIDE, "entities"),
        (PLAIN, PARAMETER, "entities"),
        ("s.h5:", "../s.h5:", "same folder"),
        ("s.h5:", "/etc/hostname:", "same folder"),
        ("s.h5:", "..\\s.h5:", "same folder|not beside"),
        ("s.h5:", "link.h5:", "same folder"),
        ("s.h5:", "below/s.h5:", "same folder"),
        ("s.h5:", "none.h5:", "not beside it"),
        ("s.h5:", "s.xdmf:", "not a readable HDF5 file"),
        ("s.h5:/Mesh/mesh/topology", "s.h5:/Mesh/mesh", "no data set"),
        ("s.h5:/Mesh/mesh/topology", "s.h5:/Mesh/mesh/geometry/x", "no data set"),
        ("s.h5:/Mesh/mesh/topology", "s.h5:/Mesh/../../x", "no data set"),
        ('Dimensions="4 2"', 'Dimensions="99999999999 2"', "at most"),
        ('Dimensions="4 2"', 'Dimensions="9999999 2"', "shape .* declared"),
        ('Dimensions="4 2"', 'Dimensions="-4 2"', "Dimensions"),
        ('Dimensions="4 2"', 'Dimensions="4 2 1"', "Dimensions"),
        ('Dimensions="4 2"', f'Dimensions="{"9" * 5000} 2"', "Dimensions"),
        ('Format="HDF"', 'Format="Binary"', "Format"),
        ('Format="HDF"', 'Format="XML"', "numbers"),
        ("Triangle", "Quadrilateral", "4 vertices per cell"),
        ("Triangle", "Wedge", "type 'Wedge'"),
        ("Triangle", "Triangle_6", "Triangle_6"),
        ("PolyLine", "Triangle", "topology"),
        ("Geometry", "Geometrie", "Geometry"),
        ("{&quot;7", "[&quot;7", "JSON"),
        ("&quot;7&quot;", "&quot;inlet&quot;", "JSON"),
        ("inlet", "in\\nlet", "no name"),
        ("<Domain>", "<Domain>" + "<a>" * 100 + "</a>" * 100, "deeper"),
        ("<Domain>", "<Domain>" + "<a/>" * 20_000, "more elements"),
        ("</Domain>", "", "valid XML"),
        ("Xdmf", "Ydmf", "root"),
    ],
)
def test_hostile_xdmf(tmp_path, old, new, message):
    home = tmp_path / "home"
    home.mkdir()
    assert old in DOLFINX
    path = dolfinx(home, DOLFINX.replace(old, new))
    (tmp_path / "s.h5").write_bytes((home / "s.h5").read_bytes())
    os.symlink(tmp_path / "s.h5", home / "link.h5")
    with pytest.raises(InvalidMesh, match=message):
        Mesh.read(path, (x, y))


def virtual(file, name):
    layout = h5py.VirtualLayout(shape=(2, 3), dtype=np.int64)
    layout[:] = h5py.VirtualSource("s.h5", "elsewhere", shape=(2, 3))
    file.create_virtual_dataset(name, layout)


def external(file, name):
    file.create_dataset(name, (2, 3), np.int64, external=[("/etc/hostname", 0, 48)])


def unwritten(file, name):
    file.create_dataset(name, (2, 3), np.int64, chunks=(2, 3), fillvalue=1)


def linked(kind):
    def change(file, name):
        file["elsewhere"] = np.array([[0, 1, 2], [3, 2, 0]])
        file[name] = kind

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (virtual, "virtual data set"),
        (external, "external storage"),
        (unwritten, "repeated"),
        (linked(h5py.SoftLink("/nowhere")), "leads nowhere"),
        (linked(h5py.ExternalLink("other.h5", "/x")), "external link"),
        (lambda f, n: f.create_dataset(n, data=np.zeros((2, 3), "S3")), "not numbers"),
        (lambda f, n: f.create_dataset(n, data=np.zeros((2, 3))), "not numbers"),
        (lambda f, n: f.create_dataset(n, data=np.zeros((3, 3), int)), "shape"),
        (lambda f, n: f.create_dataset(n, data=np.full((2, 3), 9)), "from 0 to 3"),
        (lambda f, n: f.create_dataset(n, data=np.full((2, 3), -1)), "from 0 to 3"),
    ],
)
def test_hostile_hdf5(tmp_path, change, message):
    path = dolfinx(tmp_path, **{"Mesh/mesh/topology": change})
    with pytest.raises(InvalidMesh, match=message):
        Mesh.read(path, (x, y))


def test_damage_of_the_arrays_is_seen(tmp_path):
    disk(2).write(tmp_path / "a.xdmf")
    content = (tmp_path / "a.h5").read_bytes()
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "a.h5").write_bytes(changed)
        with pytest.raises(InvalidMesh, match="digest"):
            Mesh.read(tmp_path / "a.xdmf", (x, y))


@pytest.mark.parametrize(
    "text, old, new, message",
    [
        (MSH_2, "2.2 0 8", "1.0 0 8", r"version 1\.0"),
        (MSH_2, "2.2 0 8", "2.2 1 8", r"binary.*gmsh FILE -save"),
        (MSH_2, "$MeshFormat", "$Mesh", "no .msh file"),
        (MSH_2, "$Nodes\n5", "$Nodes\n99999999999", "more are declared"),
        (MSH_2, "$Nodes\n5", "$Nodes\n-5", "declared"),
        (MSH_2, "$Nodes\n5", "$Nodes\n4", "of which 17 are declared"),
        (MSH_2, "$Nodes\n5", "$Nodes\n1e300", "fraction"),
        (MSH_2, "$Nodes\n5", "$Nodes\nfive", "other things than numbers"),
        (MSH_2, "$EndNodes", "$EndKnots", r"no complete section \$Nodes"),
        (MSH_2, "20 1 0 0", "10 1 0 0", "repeated"),
        (MSH_2, "20 1 0 0", "20 1 0 1", "must be zero"),
        (MSH_2, "20 1 0 0", "20 nan 0 0", "finite"),
        (MSH_2, "20 1 0 0", "nan 1 0 0", "has a fraction"),
        (MSH_2, "5 2 2 9 1 10 30 40", "5 3 2 9 1 10 20 30 40", "several kinds, .*Recombine"),
        (MSH_2, "5 2 2 9 1 10 30 40", "5 6 2 9 1 10 20 30 40 40 40", "type 6"),
        (MSH_2, "5 2 2 9 1 10 30 40", "5 4 2 9 1 10 20 30 40", "dimension 3"),
        (MSH_2, "5 2 2 9 1 10 30 40", "5 2 99999 9 1 10 30 40", "more are declared"),
        (MSH_2, "10 30 40", "10 30 41", "does not hold"),
        (MSH_2, "10 30 40", "10 30 40.5", "fraction"),
        (MSH_2, '1 3 "inlet"', '1 4 "inlet"\n1 3 "inlet"', "two tags are called 'inlet'"),
        (MSH_4, "2 5 10 50", "9999999999 5 10 50", "declared"),
        (MSH_4, "1 1 1 1\n", "1 1 1 88888888\n", "declared"),
        (MSH_4, "1 3 2 0\n", "1 9999999 2 0\n", "declared"),
        (MSH_4, "0 0 1 3 2 1 2", "0 0 1 3 99999999 1 2", "declared"),
        (MSH_4, "0 0 1 3 2 1 2", "0 0 11 1 2 3 4 5 6 7 8 9 10 11 2 1 2", "in 11 groups"),
    ],
)
def test_hostile_msh(tmp_path, text, old, new, message):
    assert old in text
    (tmp_path / "a.msh").write_text(text.replace(old, new))
    with pytest.raises(InvalidMesh, match=message):
        Mesh.read(tmp_path / "a.msh", (x, y))


def test_tags_that_number_the_cells(tmp_path):
    mesh = Mesh.structured(Rectangle((x, y), (0, 0), (1, 1)), 30)
    mesh.write(tmp_path / "a.msh")
    text = (tmp_path / "a.msh").read_text()
    rows = re.findall(r"^(\d+ \d+ \d+ \d+)$", text[text.index("2 1 2 1800") :], re.MULTILINE)
    elements = [f"{i} 2 2 {i} 1 {' '.join(row.split()[1:])}" for i, row in enumerate(rows, 1)]
    nodes = [f"{i} {px!r} {py!r} 0" for i, (px, py) in enumerate(mesh.vertices.tolist(), 1)]
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$Nodes", str(len(nodes)), *nodes]
    lines += ["$EndNodes", "$Elements", str(len(elements)), *elements, "$EndElements"]
    (tmp_path / "a.msh").write_text("\n".join(lines))
    with pytest.raises(InvalidMesh, match="1801 parts or regions"):
        Mesh.read(tmp_path / "a.msh", (x, y))


# The files of this repository


def rows():
    text = (MESHES / "README.md").read_text(encoding="utf-8")
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return table[1:]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_files_are_what_the_table_says(row):
    name, vertices, cells, parts, size, digest = row
    content = (MESHES / name).read_bytes()
    assert len(content) == int(size) < 200_000
    assert hashlib.sha256(content).hexdigest() == digest
    mesh = Mesh.read((MESHES / name).with_suffix(".xdmf"), (x, y))
    assert (len(mesh.vertices), len(mesh.cells)) == (int(vertices), int(cells))
    assert mesh.parts == tuple(parts.split(", "))


def test_the_table_has_all_files():
    names = {path.name for path in MESHES.iterdir()} - {"README.md", "generate.py", "__pycache__"}
    assert {row[0] for row in rows()} == names
    assert len(names) == 14


@pytest.mark.parametrize(
    "name, volume, parts",
    [
        ("unit_square_16", 1, {"left": 1, "right": 1, "bottom": 1, "top": 1}),
        ("unit_square_32", 1, {"left": 1, "right": 1, "bottom": 1, "top": 1}),
        ("l_shape", 3, {"corner": 2, "outer": 6}),
        (
            "plate_with_hole",
            4 - np.pi / 16,
            {"left": 2, "right": 2, "bottom": 2, "top": 2, "hole": np.pi / 2},
        ),
        (
            "plate_with_hole_quads",
            4 - np.pi / 16,
            {"left": 2, "right": 2, "bottom": 2, "top": 2, "hole": np.pi / 2},
        ),
        (
            "channel_cylinder",
            2.2 * 0.41 - np.pi * 0.05**2,
            {"inlet": 0.41, "outlet": 0.41, "walls": 4.4, "cylinder": np.pi / 10},
        ),
        ("disc", np.pi, {"boundary": 2 * np.pi}),
    ],
)
def test_the_files_are_the_domains_of_their_names(name, volume, parts):
    mesh = Mesh.read(MESHES / f"{name}.xdmf", (x, y))
    assert mesh.volume == pytest.approx(volume, rel=5e-3)
    assert set(mesh.parts) == set(parts)
    for part, length in parts.items():
        points, normals, weights, _ = mesh.boundary_quadrature(part)
        assert float(weights.sum()) == pytest.approx(length, rel=5e-3)
        if part in ("hole", "cylinder"):
            centre = points.new_tensor([0.2, 0.2] if part == "cylinder" else [0, 0])
            assert (((points - centre) * normals).sum(dim=1) < 0).all()
        if part == "corner":
            assert (points.prod(dim=1).abs() < 1e-15).all()
    corners = mesh.vertices[mesh.cells]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    regular = {3: 4 * np.sqrt(3), 4: 4}[corners.shape[1]]
    quality = regular * mesh.cell_volumes / (sides**2).sum(axis=1)
    assert quality.min() > 0.5  # 1 for an equilateral triangle, and for a square
