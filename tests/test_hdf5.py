"""One crafted HDF5 file per rule, and the usual files that no rule may refuse."""

import struct

import h5py
import numpy as np
import pytest

from pdeml import hdf5
from pdeml.errors import InvalidDataset, InvalidMesh
from pdeml.hdf5 import refuse_unsafe

VALUES = np.arange(6.0)


def file_of(tmp_path, make, **options):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **options) as file:
        file["values"] = VALUES
        make(file)
    return path


def virtual(file):
    layout = h5py.VirtualLayout(shape=(6,), dtype=float)
    layout[:] = h5py.VirtualSource("other.h5", "values", shape=(6,))
    file.create_virtual_dataset("x", layout)


def external_storage(file):
    file.create_dataset("x", (6,), float, external=[("/etc/hostname", 0, 48)])


def reference(file):
    file.create_dataset("x", data=file["values"].ref, dtype=h5py.ref_dtype)


def region(file):
    file.create_dataset("x", data=file["values"].regionref[2:3], dtype=h5py.regionref_dtype)


def reference_in_compound(file):
    file.create_dataset("x", (2,), np.dtype([("a", float), ("b", h5py.ref_dtype)]))


def ragged(file):
    file.create_dataset("x", (2,), h5py.vlen_dtype(float))


def opaque(file):
    file["x"] = np.zeros(2, "V8")


def unknown_filter(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((6,))
    # a filter that may be absent is optional: the file can be made without it
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((6,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, properties)


def deep(depth):
    return lambda file: file.create_group("/".join("g" * depth))


def many(count):
    def make(file):
        for number in range(count - 1):
            file.id.links.create_soft(f"{number}".encode(), b"/values")

    return make


def attributes(size):
    def make(file):
        file["values"].attrs["a"] = np.zeros(size // 2, np.uint8)
        file["values"].attrs["b"] = np.zeros(size // 2, np.uint8)

    return make


def reference_in_attribute(file):
    file["values"].attrs["there"] = file["/"].ref


def cycle(file):
    group = file.create_group("g/h")
    group["up"] = file["g"]


def two_paths(file):
    file["g"] = file.create_group("h")


def soft(target):
    def make(file):
        file.create_group("g")
        file["x"] = h5py.SoftLink(target)

    return make


def bomb(file):
    # stored compressed: 32 MiB of nothing
    file.create_dataset("x", (2**22,), float, chunks=(2**22,), fletcher32=True)
    file["x"].id.write_direct_chunk((0,), b"\0" * 100)


def unstored(file):
    file.create_dataset("x", (2**22,), float, chunks=(2**10,), fillvalue=1)


def wide_chunk(file):
    file.create_dataset("x", (6,), float, chunks=(2**22,), maxshape=(None,))


RULES = {
    "virtual": (virtual, "'/x' is a virtual data set"),
    "external storage": (external_storage, "'/x' has external storage"),
    "external link": (
        lambda f: f.__setitem__("x", h5py.ExternalLink("b.h5", "/x")),
        "'/x' is an external link",
    ),
    "reference": (reference, "'/x' holds references"),
    "region": (region, "'/x' holds references"),
    "reference in compound": (reference_in_compound, "'/x' holds references"),
    "ragged": (ragged, "'/x' holds references, lists of variable length"),
    "opaque": (opaque, "'/x' holds references, lists of variable length or other"),
    "unknown filter": (unknown_filter, "'/x' has the unknown filter 32015"),
    "depth": (deep(17), "deeper than 16 groups"),
    "objects": (many(10_001), "more than 10000 objects"),
    "attributes": (attributes(2**16), "'/values' has attributes of more than 65536 bytes"),
    "reference in attribute": (reference_in_attribute, "attribute 'there' with references"),
    "cycle of groups": (cycle, "'/g/h/up' is a group that has another path"),
    "two paths": (two_paths, "is a group that has another path"),
    "soft link to nothing": (soft("/nothing"), "'/x' is a link that leads nowhere"),
    "soft link to itself": (soft("/x"), "'/x' is a link that leads nowhere or in a circle"),
    "soft link to a group": (soft("/g"), "'/x' is a soft link to something other"),
    "bomb": (bomb, "'/x' declares 33554432 bytes, but stores 100"),
    "unstored": (unstored, "'/x' declares 33554432 bytes, but stores 0"),
    "wide chunk": (wide_chunk, "'/x' declares 33554432 bytes, but stores 0"),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_refuses_its_file(tmp_path, rule):
    make, message = RULES[rule]
    path = file_of(tmp_path, make, libver="latest")
    with pytest.raises(InvalidDataset, match=message):
        refuse_unsafe(path)
    with h5py.File(path, "r") as file, pytest.raises(InvalidMesh, match=message):
        refuse_unsafe(file, error=InvalidMesh)


def lookup3(data):
    """Checksum of HDF5's metadata: Jenkins (2006), lookup3, hashlittle."""
    a = b = c = (0xDEADBEEF + len(data)) % 2**32

    def turned(value, by):
        return (value << by | value >> 32 - by) % 2**32

    for start in range(0, len(data), 12):
        words = struct.unpack("<3I", data[start : start + 12].ljust(12, b"\0"))
        a, b, c = ((v + w) % 2**32 for v, w in zip((a, b, c), words, strict=True))
        if start + 12 < len(data):
            for by in (4, 6, 8, 16, 19, 4):
                a, b, c = b, (c + b) % 2**32, ((a - c) % 2**32) ^ turned(c, by)
    for by in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, ((c ^ b) - turned(b, by)) % 2**32, a
    return b


def test_links_of_a_kind_that_nobody_knows(tmp_path):
    """A soft link, which is made a user-defined one by the number of its kind in the file."""
    path = file_of(tmp_path, soft("/user-defined"), track_order=True)
    content = bytearray(path.read_bytes())
    start = content.index(b"OHDR")
    assert content[start + 5] & 0b110011 == 0  # neither times nor limits, sizes of one byte
    end = start + 7 + content[start + 6]
    assert content[end : end + 4] == lookup3(content[start:end]).to_bytes(4, "little")
    # kind, order of creation, length of the name, name, length of the target
    kind = content.index(b"\x01x\x0d\0/user-defined") - 9
    assert content[kind] == 1
    content[kind] = 200
    content[end : end + 4] = lookup3(content[start:end]).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InvalidDataset, match="'/x' is a user-defined link"):
        refuse_unsafe(path)


def usual(file):
    """What files of simulations have."""
    options = {"chunks": (8, 8), "compression": "gzip", "shuffle": True, "fletcher32": True}
    file.create_dataset("g/u", data=np.ones((64, 64), np.float32), **options)
    file.create_dataset("lzf", data=np.ones((64, 64)), compression="lzf")
    file.create_dataset("scaled", data=np.ones((64, 64)), chunks=True, scaleoffset=3)
    file.create_dataset("complex", data=np.ones(4, complex))
    file.create_dataset("mask", data=np.ones(4, bool))
    file.create_dataset("names", data=["a", "b"], dtype=h5py.string_dtype())
    file.create_dataset("fixed", data=np.array([b"a", b"b"]))
    file.create_dataset("records", (2,), np.dtype([("a", "f8", (3,)), ("b", "i4")]))
    file.create_dataset("empty", data=h5py.Empty("f8"))
    file.create_dataset("late", (0, 64), float, chunks=(1, 64), maxshape=(None, 64))
    file.create_dataset("filled", (512, 512), float, fillvalue=np.nan)
    file.create_dataset("zeros", data=np.zeros(2**22, np.uint8), chunks=(2**20,), compression=1)
    file["soft"], file["hard"] = h5py.SoftLink("/g/u"), file["values"]
    file["type"] = np.dtype("f4")
    file["values"].make_scale("x")
    file.create_dataset("scaled_by", data=VALUES).dims[0].attach_scale(file["values"])
    file.attrs["config"] = "nu: 0.01"
    file.attrs["parameters"] = ["nu", "rho"]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_usual_files_pass(tmp_path, libver):
    path = file_of(tmp_path, usual, libver=libver, userblock_size=512)
    refuse_unsafe(path)
    with pytest.raises(InvalidDataset, match="'/names' holds"):
        refuse_unsafe(path, text=False)


def test_what_is_just_within_a_limit_passes(tmp_path):
    for make in (deep(16), many(10_000), attributes(2**16 - 2)):
        refuse_unsafe(file_of(tmp_path, make, libver="latest"))


def test_all_declared_bytes_count(tmp_path):
    def make(file):
        for name in "abc":
            file[name] = np.zeros(100)

    path = file_of(tmp_path, make)
    refuse_unsafe(path, limit_bytes=2448)
    with pytest.raises(InvalidDataset, match=r"2448 bytes \(limit 2447\)"):
        refuse_unsafe(path, limit_bytes=2447)


def test_no_data_are_read(tmp_path):
    """Values may be damaged: a checksum is not what is looked at."""
    path = file_of(tmp_path, lambda f: f.create_dataset("x", data=VALUES, fletcher32=True))
    with h5py.File(path, "r") as file:
        place = file["x"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    refuse_unsafe(path)
    with h5py.File(path, "r") as file, pytest.raises(OSError):
        file["x"][()]


def test_what_is_no_hdf5_file(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(InvalidDataset, match="not a readable HDF5 file"):
        refuse_unsafe(tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError):
        refuse_unsafe(tmp_path / "b.h5")


def test_deflate_never_exceeds_the_ratio(tmp_path):
    """The largest chunk that shrinks the most is no bomb."""

    def make(file):
        file.create_dataset("x", data=np.zeros(2**25, np.uint8), chunks=(2**25,), compression=9)

    path = file_of(tmp_path, make)
    refuse_unsafe(path)
    with h5py.File(path, "r") as file:
        assert 900 < 2**25 / file["x"].id.get_storage_size() < hdf5.MAX_RATIO
