"""A file for each way to be hostile or broken: typed errors, at once, in bounded memory."""

import json
import os
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

import pdeml
from pdeml.cli import app
from pdeml.data import FieldInfo, MeshArrays, Writer, contained, inspection
from pdeml.data.handles import release
from pdeml.errors import InvalidDataset
from tests.data import foreign
from tests.data.foreign import LAYOUTS, N, T, X, values
from tests.data.fuzzing import own

SECRET = np.full((N, T, X), 42.0, np.float32)


@pytest.fixture
def outside(tmp_path):
    """A file that no data set may make us read."""
    (folder := tmp_path / "outside").mkdir()
    with h5py.File(folder / "secret.h5", "w") as file:
        file["tensor"] = SECRET
    return folder / "secret.h5"


def hostile(tmp_path, make):
    """A PDEBench file whose tensor is made by a function."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        make(file)
        file["x-coordinate"], file["t-coordinate"] = foreign.x, foreign.t
    return path


def test_external_links_are_not_followed(tmp_path, outside):
    path = hostile(
        tmp_path, lambda f: f.__setitem__("tensor", h5py.ExternalLink(outside, "/tensor"))
    )
    with pytest.raises(InvalidDataset, match="'/tensor' is an external link"):
        pdeml.data.open(path)


def virtual(file, outside):
    layout = h5py.VirtualLayout(SECRET.shape, np.float32)
    layout[:] = h5py.VirtualSource(outside, "tensor", SECRET.shape)
    file.create_virtual_dataset("tensor", layout)


def test_virtual_data_sets_are_not_followed(tmp_path, outside):
    path = hostile(tmp_path, lambda f: virtual(f, outside))
    with pytest.raises(InvalidDataset, match="'/tensor' is a virtual data set"):
        pdeml.data.open(path)


def stored_outside(file, outside):
    file.create_dataset("tensor", SECRET.shape, "f4", external=[(outside, 0, SECRET.nbytes)])


def test_external_storage_is_not_read(tmp_path, outside):
    path = hostile(tmp_path, lambda f: stored_outside(f, outside))
    with pytest.raises(InvalidDataset, match="'/tensor' has external storage"):
        pdeml.data.open(path)


@pytest.mark.parametrize("target", ["/tensor", "/../outside/secret.h5", "/nothing"])
def test_soft_links_in_a_circle_or_out_of_the_file(tmp_path, outside, target):
    path = hostile(tmp_path, lambda f: f.__setitem__("tensor", h5py.SoftLink(target)))
    with pytest.raises(InvalidDataset, match="leads nowhere or in a circle"):
        pdeml.data.open(path)


def test_parts_of_a_folder_are_checked_too(tmp_path, outside):
    folder, _ = foreign.well_folder(tmp_path)
    with h5py.File(folder / "data/test/flow_0.hdf5", "r+") as file:
        file["t0_fields/extra"] = h5py.ExternalLink(outside, "/tensor")
    with pytest.raises(InvalidDataset, match="'/t0_fields/extra' is an external link"):
        pdeml.data.open(folder)


def filtered(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(SECRET.shape)
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple(SECRET.shape)
    h5py.h5d.create(file.id, b"tensor", h5py.h5t.IEEE_F32LE, space, properties)


def test_filters_that_are_not_installed(tmp_path):
    with pytest.raises(InvalidDataset, match="'/tensor' has the unknown filter 32015"):
        pdeml.data.open(hostile(tmp_path, filtered))


def test_object_types_of_hdf5(tmp_path):
    def make(file):
        file.create_dataset("tensor", (N, T, X), h5py.vlen_dtype(np.float32))

    with pytest.raises(InvalidDataset, match="'/tensor' holds references, lists of variable"):
        pdeml.data.open(hostile(tmp_path, make))


def test_a_type_where_an_array_should_be(tmp_path):
    """Found by mutants: a named type has attributes, but neither shape nor values."""
    path = hostile(tmp_path, lambda f: f.__setitem__("tensor", np.dtype("f4")))
    with pytest.raises(InvalidDataset, match="of no known layout"):
        pdeml.data.open(path)
    path, _ = foreign.well(tmp_path)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["scalars/nu"].attrs)
        del file["scalars/nu"]
        file["scalars/nu"] = np.dtype("f4")
        file["scalars/nu"].attrs.update(attributes)
    with pytest.raises(InvalidDataset, match="the data set 'nu' is missing"):
        pdeml.data.open(path)


def test_numbers_that_torch_has_not(tmp_path):
    wide = SECRET.astype(np.longdouble)
    path = hostile(tmp_path, lambda f: f.__setitem__("tensor", wide))
    with pytest.raises(InvalidDataset, match=r"'tensor' .* is no data set of numbers"):
        pdeml.data.open(path)
    np.save(tmp_path / "a.npy", wide[:, :, :, None])
    with pytest.raises(InvalidDataset, match="no numbers"):
        pdeml.data.open(tmp_path / "a.npy", map={"u": "array", "axes": "n t x y"})


def replaced(name, size, dtype="f4"):
    """A change of an own file: another array in the place of one, with its attributes."""

    def change(file):
        attributes = {k: v for k, v in file[name].attrs.items() if k != "DIMENSION_LIST"}
        del file[name]
        file[name] = np.zeros(size, dtype)
        file[name].attrs.update(attributes)
        for dim, label in zip(file[name].dims, ("sample", "time", "x"), strict=False):
            dim.label = label

    return change


def no_field(file):
    del file["u"].attrs["_FillValue"]


def no_table(name, text):
    def change(file):
        file.attrs[name] = text

    return change


def not_finite(file):
    file["x"][2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("u", (4, 3, 6)), r"'u' has shape \(4, 3, 6\), not \(4, 3, 7\)"),
        (replaced("status", 3, "u1"), r"'status' has shape \(3,\), not \(4,\)"),
        (replaced("crc32_u", 5, "u4"), r"'crc32_u' has shape \(5,\)"),
        (replaced("nu", 2), r"'nu' has shape \(2,\)"),
        (no_field, "no field"),
        (replaced("u", (4, 3, 7), np.longdouble), "'u' has the dtype float128"),
        (not_finite, "'x' is no list of finite numbers"),
        (no_table("pde", "3"), "'pde' is 3, no table"),
        (no_table("provenance", '{"options": ["converted_from"]}'), "'options' is .* no table"),
    ],
)
def test_an_own_file_whose_arrays_do_not_fit(tmp_path, change, message):
    path, _ = own(tmp_path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InvalidDataset, match=message):
        pdeml.data.open(path)


class Payload:
    """What pickle runs when it reads this."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("kind", ["npy", "X", "y", "X_train0", "usol", "plain"])
def test_pickles_do_not_run(tmp_path, kind):
    payload = np.array([Payload(tmp_path / "ran")], dtype=object)
    if kind == "npy":
        np.save(path := tmp_path / "a.npy", payload, allow_pickle=True)
    else:
        arrays = {"X": values(N, X), "y": values(N, X), "x": foreign.x, "t": foreign.t}
        if kind == "X_train0":
            arrays = {"X_train1": values(X, 1), "y_train": values(N, X)}
        np.savez(path := tmp_path / "a.npz", **{**arrays, kind: payload})
    for options in ({}, {"map": {"u": "array" if kind == "npy" else kind, "axes": "n"}}):
        with pytest.raises(InvalidDataset):
            pdeml.data.open(path, **options).read()
    assert not (tmp_path / "ran").exists()
    if kind == "X":  # it would have run
        with pytest.raises(InvalidDataset):
            pdeml.data.open(path, allow_pickle=True)
        assert (tmp_path / "ran").exists()


def npy_header(shape, dtype="<f4"):
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


BIG = 10**12


def bomb_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("tensor", (BIG, T, X), "f4", chunks=(1, T, X))
    return folder / "a.h5"


def bomb_samples(folder):
    path, _ = foreign.well(folder)
    with h5py.File(path, "r+") as file:
        file.attrs["n_trajectories"] = 10**7  # as an array it would be 80 MB
    return path


def bomb_npy(folder):
    (folder / "a.npy").write_bytes(npy_header((BIG, T, X, X)) + bytes(100))
    return folder / "a.npy"


def bomb_npz(folder):
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X_train0.npy", npy_header((BIG, 3)) + bytes(100))
    return folder / "a.npz"


def bomb_zip(folder):
    """A member that says that it unpacks to a terabyte."""
    np.savez_compressed(folder / "a.npz", X_train0=values(N, 3))
    data = bytearray((folder / "a.npz").read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    (folder / "a.npz").write_bytes(data)
    return folder / "a.npz"


def bomb_mat(folder):
    """Dimensions (5, 7) of a MATLAB 5 variable become (2³⁰, 2³⁰)."""
    scipy.io.savemat(folder / "a.mat", {"a": values(N, X), "u": values(N, X)})
    data = (folder / "a.mat").read_bytes()
    sizes = N.to_bytes(4, "little") + X.to_bytes(4, "little")
    assert data.count(sizes) == 2
    (folder / "a.mat").write_bytes(data.replace(sizes, (2**30).to_bytes(4, "little") * 2))
    return folder / "a.mat"


def bomb_compressed(folder):
    """32 MiB of chunk in 100 bytes."""
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset(
            "tensor", (1, 1, 2**23), "f4", chunks=(1, 1, 2**23), compression=1
        )
        data.id.write_direct_chunk((0, 0, 0), bytes(100))
    return folder / "a.h5"


def bomb_json(folder):
    path, _ = foreign.apebench(folder)
    path.write_text('{"name": "a", "info": ' + "[" * 100_000 + "]" * 100_000 + "}")
    return path


@pytest.mark.parametrize(
    "make",
    [bomb_hdf5, bomb_samples, bomb_npy, bomb_npz, bomb_zip, bomb_mat, bomb_compressed, bomb_json],
)
def test_absurd_sizes_allocate_nothing(tmp_path, make):
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDataset):
            pdeml.data.open(path).read()
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def deep(file):
    file.create_group("/".join("g" * 20))


def many(file):
    for number in range(10_001):
        file.id.links.create_soft(str(number).encode(), b"/tensor")


def huge_attribute(file):
    file["tensor"].attrs["config"] = np.zeros(2**17, np.uint8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (deep, "deeper than 16"),
        (many, "more than 10000 objects"),
        (huge_attribute, "more than 65536"),
    ],
)
def test_deep_many_and_huge(tmp_path, make, message):
    def whole(file):
        file["tensor"] = SECRET
        make(file)

    with pytest.raises(InvalidDataset, match=message):
        pdeml.data.open(hostile(tmp_path, whole))


CUT = sorted(set(LAYOUTS) - {"The Well (folder)"})


@pytest.mark.parametrize("layout", [*CUT, "pdeml"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_files_say_so(tmp_path, layout, part):
    path, _ = own(tmp_path) if layout == "pdeml" else LAYOUTS[layout](tmp_path)
    path = path.with_name("ape_train.npy") if layout == "APEBench" else path
    size = path.stat().st_size
    os.truncate(path, int(part * size))
    release(path)
    with pytest.raises(InvalidDataset) as caught:
        pdeml.data.open(path).read()
    text = str(caught.value)
    assert repr(str(path)) in text
    if path.suffix != ".npz":  # a zip file has its list of members at the end, or is none
        assert "cut off" in text and str(int(part * size)) in text
    assert "again" in text


def test_a_flipped_byte_is_found_where_there_is_a_checksum(tmp_path):
    """fletcher32 of HDF5, CRC-32 of zip, Adler-32 of compressed MATLAB variables, and our own."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("tensor", data=SECRET, chunks=SECRET.shape, fletcher32=True)
        place = data.id.get_chunk_info(0).byte_offset + 100
    flip(tmp_path / "a.h5", place)
    with pytest.raises(InvalidDataset, match=r"'tensor' of .* cannot be read"):
        pdeml.data.open(tmp_path / "a.h5").read()
    assert list(pdeml.data.verify(tmp_path / "a.h5").bad) == [0, 1, 2, 3, 4]
    path, _ = foreign.deepxde_npz(tmp_path)
    flip(path, path.read_bytes().index(values(X, T, dtype=np.float64).tobytes()) + 9)
    with pytest.raises(InvalidDataset, match="Bad CRC-32"):
        pdeml.data.open(path).read()
    path, _ = foreign.fno_5_compressed(tmp_path)
    flip(path, path.stat().st_size - 100)
    with pytest.raises(InvalidDataset, match="damaged"):
        pdeml.data.open(path)
    path, expected = own(tmp_path)
    flip(path, path.read_bytes().index(expected["u"][2].tobytes()) + 5)
    release(path)
    assert pdeml.data.verify(path).bad == {2: "u: checksum"}


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.mat", "a.npy", "a.npz", "a.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>login", "is a web page"),
        (b"<HTML>404", "is a web page"),
        (b"", "is empty"),
        (b"\0" * 300, "of no known layout"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 300, "not a readable HDF5 file|damaged"),
        (b"PK\x03\x04" + b"\0" * 300, "zip"),
        (b"\x93NUMPY\x01\x00" + b"\xff" * 300, "cannot be read"),
        (b"\x93NUMPY\x01\x00" + npy_header("__import__('os')")[8:], "cannot be read"),
        (b"MATLAB 5.0".ljust(124) + b"\0\x01IM" + b"\xff" * 64, "unknown kind 4294967295"),
    ],
)
def test_what_is_no_data_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidDataset, match=message):
        pdeml.data.open(tmp_path / name)


def test_pipes_and_missing_files_and_folders(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InvalidDataset, match="is a device or a pipe"):
        pdeml.data.open(tmp_path / "pipe.json")
    (tmp_path / "train").mkdir()
    os.mkfifo(tmp_path / "train/a.hdf5")
    with pytest.raises(InvalidDataset, match=r"the folder .* of no known layout"):
        pdeml.data.open(tmp_path)
    with pytest.raises(InvalidDataset, match="there is no file"):
        pdeml.data.open(tmp_path / "nothing.h5")


DESCRIPTIONS = [
    "no json",
    "[]",
    '{"fields": 3, "axes": [], "units": {}, "splits": {}, "attributes": {}}',
    json.dumps({"fields": [{"name": "u", "components": ["u"]}] * 2, "axes": [], "units": {},
                "splits": {}, "attributes": {}}),
    '{"fields": [], "axes": [], "units": {}, "splits": {}, "attributes": {"title": {}}}',
]  # fmt: skip


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_wrong_description_is_refused(tmp_path, text):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tensor"] = SECRET
        file.attrs["pdeml_description"] = text
    with pytest.raises(InvalidDataset, match="is no description by pdeml"):
        pdeml.data.open(tmp_path / "a.h5")


@pytest.mark.parametrize("mesh", [None, MeshArrays(np.eye(3)[:, :2], np.array([[0, 1, 2]]))])
def test_pictures_take_no_text_for_mathematics(tmp_path, at_home, mesh):
    n = 5 if mesh is None else 3
    with Writer(
        tmp_path / "a.h5", fields=[FieldInfo("u", "c8", units=r"$\bad$")], times=[0.0, 1.0],
        axes={"x" if mesh is None else "node": np.arange(n)}, samples=2, title=r"$\frac$ $",
        mesh=mesh, durability="process",
    ) as writer:  # fmt: skip
        writer.commit([0, 1], u=values(2, 2, n))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["u_re"].attrs["units"] = "\x1b[2J$"
        file.attrs["created"] = "now\n\x1b]0;title\a"
    found = call("inspect", tmp_path / "a.h5", "--picture", tmp_path / "a.png")
    assert found.exit_code == 0, found.output
    assert "\x1b" not in found.output and "now  ]0;title" in found.output
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_a_split_beyond_the_samples_is_not_used(tmp_path):
    content = {"fields": [], "axes": [], "units": {}, "attributes": {}}
    for index, used in (([0, 1], True), ([0, 99], False), ([0.5], False), ("ab", False)):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["tensor"] = SECRET
            file.attrs["pdeml_description"] = json.dumps({**content, "splits": {"train": index}})
        splits = pdeml.data.open(tmp_path / "a.h5").contents.splits
        assert splits["train"].tolist() == ([0, 1] if used else [0, 1, 2, 3, 4])


def test_what_hangs_the_library_is_stopped(tmp_path):
    """A heap of texts whose free rest has 8 bytes: HDF5 2.0 never comes back from it."""
    path, _ = own(tmp_path)
    data = bytearray(path.read_bytes())
    place = start = data.index(b"GCOL\x01\0\0\0") + 16
    while index := int.from_bytes(data[place : place + 2], "little"):
        place += 16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
    assert place > start and index == 0
    data[place + 8 : place + 16] = (8).to_bytes(8, "little")
    path.write_bytes(data)
    release(path)
    with pytest.raises(InvalidDataset, match="a heap of texts does not add up"):
        pdeml.data.open(path)


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_line_reads_in_another_process(tmp_path):
    """Limits of time and memory, and nothing is left behind."""
    path, _ = foreign.pdebench_d(tmp_path)
    out = tmp_path / "own.h5"
    with pytest.raises(InvalidDataset, match=r"was stopped: it took more than 1e-06 s"):
        contained.convert(path, out, "pdeml", time_limit=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.h5"]
    found = call("convert", path, "--out", out, "--quiet")
    assert found.exit_code == 0, found.output
    assert (pdeml.data.open(out).read() == pdeml.data.open(path).read()).all()
    (tmp_path / "bad.h5").write_bytes(path.read_bytes()[:9000])
    found = call("inspect", tmp_path / "bad.h5", "--picture", tmp_path / "bad.png")
    assert found.exit_code == 2 and "cut off" in " ".join(found.output.split())
    assert not (tmp_path / "bad.png").exists()


@pytest.fixture
def at_home(monkeypatch):
    """What the command line does in another process, done in this one: a start takes seconds."""
    for module in (contained, inspection):
        monkeypatch.setattr(module, "run_isolated", lambda f, *arguments, **_: f(*arguments))


def test_options_of_the_commands(tmp_path, at_home):
    path, _ = foreign.pdebench_d(tmp_path)
    kept = path.read_bytes()
    for arguments, message in (
        (["convert", path, "--out", path], "is there already"),
        (["convert", path, "--to", "hdf"], "give one of pdeml"),
        (["convert", path, "--map", "u"], "give NAME=PATH"),
        (["convert", path, "--map", "u.v=w"], "only axes.NAME"),
        (["convert", tmp_path / "no.h5"], "there is no file"),
        (["inspect", tmp_path / "no.h5"], "there is no file"),
        (["inspect", path, "--max-objects", 0], "give a positive number"),
        (["inspect", path, "--max-objects", 10], "more than 10 objects"),
        (["verify", path, "--max-objects", 10], "more than 10 objects"),
        (["inspect", path, "--map", "u=nothing", "--map", "axes=n t"], "has no array 'nothing'"),
    ):
        found = call(*arguments)
        assert found.exit_code == 2 and message in " ".join(found.output.split()), arguments
    assert path.read_bytes() == kept
    (folder := tmp_path / "more").mkdir()
    for command in (["inspect", "--picture", folder / "a.png"], ["verify"]):
        assert call(*command, path, "--max-objects", 30, "--quiet").exit_code == 0
    np.savez(tmp_path / "a.npz", field=values(N, T, X))
    words = ["--map", "u=field", "--map", "axes=n t x", "--json", "--quiet", "--no-picture"]
    details = json.loads(call("inspect", tmp_path / "a.npz", *words).stdout)
    assert details["fields"][0]["shape"] == [N, T, 1, X] and details["fields"][0]["name"] == "u"


def pickled(path, marker):
    np.savez(path, X=np.array([Payload(marker)], dtype=object), y=values(N, X))


def damaged(path, _):
    """A compressed file of pdeml with a byte of the first sample flipped."""
    made, _ = own(path.parent, compression="gzip")
    with h5py.File(made) as file:
        place = file["u"].id.get_chunk_info(0).byte_offset
    flip(made, place + 3)
    os.replace(made, path)


def linked(link):
    return lambda path, outside: hostile(path.parent, lambda f: f.__setitem__("tensor", link))


WRONG = {
    "external link": lambda path, outside: hostile(
        path.parent, lambda f: f.__setitem__("tensor", h5py.ExternalLink(outside, "/tensor"))
    ),
    "soft link in a circle": linked(h5py.SoftLink("/tensor")),
    "soft link out of the file": linked(h5py.SoftLink("/../outside/secret.h5")),
    "virtual data set": lambda path, out: hostile(path.parent, lambda f: virtual(f, out)),
    "external storage": lambda path, out: hostile(path.parent, lambda f: stored_outside(f, out)),
    "unknown filter": lambda path, _: hostile(path.parent, filtered),
    "lists of variable length": lambda path, _: hostile(
        path.parent, lambda f: f.create_dataset("tensor", (N, T, X), h5py.vlen_dtype(np.float32))
    ),
    "pickle": lambda path, _: pickled(path.with_suffix(".npz"), path.parent / "ran"),
    "absurd shape": lambda path, _: bomb_hdf5(path.parent),
    "absurd member": lambda path, _: bomb_zip(path.parent),
    "flipped byte": damaged,
    "half a file": lambda path, _: os.truncate(os.replace(own(path.parent)[0], path) or path, 3000),
    "web page": lambda path, _: path.write_text("<!DOCTYPE html><html><body>login"),
    "pointer of git-lfs": lambda path, _: path.write_text("version https://git-lfs.github.com/"),
    "nothing": lambda path, _: path.write_bytes(b""),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_commands_refuse_in_one_sentence(tmp_path, outside, at_home, kind):
    """No trace, exit code 2, nothing written; the same file is refused by `pdeml.data.open`."""
    (folder := tmp_path / "in").mkdir()
    WRONG[kind](folder / "a.h5", outside)
    path = folder / ("a.npz" if "a.npz" in os.listdir(folder) else "a.h5")
    with pytest.raises(InvalidDataset):
        pdeml.data.open(path).read()
    before = sorted(tmp_path.rglob("*"))
    for words in (
        ["inspect", path, "--picture", tmp_path / "a.png"],
        ["convert", path, "--out", tmp_path / "b.h5"],
        *([] if kind == "flipped byte" else [["verify", path]]),
    ):
        found = call(*words)
        assert found.exit_code == 2 and isinstance(found.exception, SystemExit), found.output
        assert found.stderr.startswith("InvalidDataset: ") and found.stderr.count("\n") == 1
    if kind == "flipped byte":
        found = call("verify", path, "--json", "--quiet")
        assert found.exit_code == 3 and list(json.loads(found.stdout)["bad"]) == ["0"]
    assert sorted(tmp_path.rglob("*")) == before
