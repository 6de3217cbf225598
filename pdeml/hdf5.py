"""HDF5 files of strangers: refused by their structure before any of their data are read.

What is checked is what a file may make a reader do: open other files, follow references, run
filters that nobody knows, walk in circles, or allocate far more than the file holds. Damage that
makes the HDF5 library itself hang or crash is another matter: `pdeml.isolation` contains it.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from pdeml.engine import READ_ERRORS
from pdeml.errors import InvalidDataset, PdemlError

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 16
MAX_OBJECTS = 10_000
MAX_ATTRIBUTE_BYTES = 64 * 2**10  # of all attributes of one object
MAX_DECLARED_BYTES = 2**40
MAX_NESTING = 4  # of one type inside another
SMALL_BYTES = 16 * 2**20
HEAP = b"GCOL\x01\0\0\0"
HEAP_BYTES = 32 * 2**20  # at each end of a file

# Deflate, the best of the usual filters, shrinks a constant by 1032.
MAX_RATIO = 1100

# Scales of axes are attached to data sets by references, which stay inside the file.
# MATLAB lists the fields of a structure as lists of characters; nobody reads them.
SCALE_ATTRIBUTES = frozenset({"DIMENSION_LIST", "REFERENCE_LIST", "MATLAB_fields"})


def refuse_unsafe(
    path: str | os.PathLike[str] | h5py.File,
    *,
    error: type[PdemlError] = InvalidDataset,
    limit_bytes: int = MAX_DECLARED_BYTES,
    text: bool = True,
    references: bool = False,
    max_objects: int = MAX_OBJECTS,
) -> None:
    """Refuse an HDF5 file for what it contains; its data are not read.

    Refused are links to other files and user-defined ones, soft links that lead nowhere, in a
    circle or to a group, groups with two paths, groups deeper than 16, more than 10,000 objects,
    more than 64 KiB of attributes at one object, data sets with external storage or of other data
    sets (virtual), filters that are not the usual ones, types with references, lists of variable
    length or other objects (dimension scales apart), data sets that declare more than 1100 times
    what they store (unless they declare less than 16 MiB), and files that declare too much.

    Parameters
    ----------
    path : of the file, or the file itself if it is open.
    error : raised if the file is refused.
    limit_bytes : how much all data sets together may declare, uncompressed.
    text : accept texts of variable length in data sets. They may declare more than anybody can
        see from outside: read them in a process with a limit of memory. In attributes, where
        files keep their descriptions, they are always accepted.
    references : accept data sets of references to objects (cells of MATLAB 7.3 files); the caller
        must not read them.
    max_objects : how many groups and data sets the file may have.

    Raises
    ------
    error
        If the file is unsafe or no HDF5 file; the message names the object and the rule.
    FileNotFoundError, PermissionError
        If the file cannot be opened at all.

    Notes
    -----
    The library parses headers of the file, and may hang or crash on broken ones: for files of
    strangers, call this through `pdeml.isolation.run_isolated`.
    """
    import h5py

    if isinstance(path, h5py.File):
        _checked(path, str(path.filename), error, limit_bytes, text, references, max_objects)
        return
    with open(path, "rb") as plain:  # a missing file is no invalid one
        if not _heaps_are_whole(plain):
            raise error(
                f"{str(path)!r} is damaged: a heap of texts does not add up. Copy or generate it "
                "again."
            )
    try:
        with h5py.File(path, "r") as file:
            _checked(file, str(path), error, limit_bytes, text, references, max_objects)
    except READ_ERRORS as failure:
        if isinstance(failure, PdemlError):
            raise
        raise error(f"{str(path)!r} is not a readable HDF5 file: {failure}") from None


def _heaps_are_whole(file: BinaryIO) -> bool:
    """Whether the objects of each global heap fill it; HDF5 2.0 reads a broken one for ever.

    A heap holds texts of variable length: ``GCOL``, version, size; objects with index, count, size;
    the last one, of index 0, is the free rest. Heaps stand near the beginning or the end of a file;
    those elsewhere in large files are not looked at.
    """
    size = file.seek(0, os.SEEK_END)
    for start in {0, max(0, size - HEAP_BYTES)}:
        file.seek(start)
        data = file.read(min(HEAP_BYTES, size - start))
        place = data.find(HEAP)
        while place >= 0:
            if not _heap_is_whole(data, place):
                return False
            place = data.find(HEAP, place + 1)
    return True


def _heap_is_whole(data: bytes, start: int) -> bool:
    if len(data) < start + 16:
        return True
    end = start + int.from_bytes(data[start + 8 : start + 16], "little")
    if end > len(data):
        return True  # beyond what was read
    place = start + 16
    while end - place >= 16:
        index, _, _, size = struct.unpack_from("<HHIQ", data, place)
        if index == 0:
            return place + size == end
        place += 16 + -(-size // 8) * 8
    return place <= end


def _checked(
    file: h5py.File,
    path: str,
    error: type[PdemlError],
    limit_bytes: int,
    text: bool,
    references: bool,
    max_objects: int,
) -> None:
    import h5py

    def refuse(name: str, why: str) -> PdemlError:
        return error(
            f"{path!r} is refused: {name[:80]!r} {why}. Use a file from a source you trust, or "
            "copy its data into a plain one."
        )

    count, declared = 0, 0
    seen: set[int] = set()
    soft: list[tuple[Any, bytes, str]] = []
    waiting: list[tuple[Any, str, int]] = [(file["/"].id, "/", 0)]
    seen.add(h5py.h5o.get_info(waiting[0][0]).addr)
    while waiting:
        group, where, depth = waiting.pop()
        _check_attributes(group, where, refuse)
        # what a group states, before any of it is listed
        if count + len(group) > max_objects:
            raise refuse(where, f"brings the file to more than {max_objects} objects")
        for link in group:
            count += 1
            name = f"{where.rstrip('/')}/{link.decode('utf-8', 'replace')}"
            kind = group.links.get_info(link).type
            if kind == h5py.h5l.TYPE_SOFT:
                soft.append((group, link, name))
                continue
            if kind != h5py.h5l.TYPE_HARD:
                external = kind == h5py.h5l.TYPE_EXTERNAL
                raise refuse(name, f"is {'an external' if external else 'a user-defined'} link")
            thing = h5py.h5o.open(group, link)
            if isinstance(thing, h5py.h5g.GroupID):
                address = h5py.h5o.get_info(thing).addr
                if address in seen:
                    raise refuse(name, "is a group that has another path already")
                seen.add(address)
                if depth + 1 > MAX_DEPTH:
                    raise refuse(name, f"is deeper than {MAX_DEPTH} groups")
                waiting.append((thing, name, depth + 1))
            elif isinstance(thing, h5py.h5d.DatasetID):
                _check_attributes(thing, name, refuse)
                declared += _check_dataset(thing, name, refuse, text, references)
                if declared > limit_bytes:
                    raise refuse(
                        name, f"brings the declared data to {declared} bytes (limit {limit_bytes})"
                    )
            elif not isinstance(thing, h5py.h5t.TypeID):
                raise refuse(name, "is an object of an unknown kind")
    # all links of the file are hard or soft: what these lead to is inside it
    for group, link, name in soft:
        try:
            target = h5py.h5o.open(group, link)
        except READ_ERRORS:
            raise refuse(name, "is a link that leads nowhere or in a circle") from None
        if not isinstance(target, h5py.h5d.DatasetID):
            raise refuse(name, "is a soft link to something other than a data set")


def _check_attributes(thing: Any, name: str, refuse: Callable[[str, str], PdemlError]) -> None:
    import h5py

    total = 0
    for index in range(h5py.h5a.get_num_attrs(thing)):
        attribute = h5py.h5a.open(thing, index=index)
        label = attribute.name.decode("utf-8", "replace")
        # get_storage_size fails for attributes without entries
        entries = attribute.get_space().get_simple_extent_npoints()
        total += entries * attribute.get_type().get_size() + len(attribute.name)
        if total > MAX_ATTRIBUTE_BYTES:
            raise refuse(name, f"has attributes of more than {MAX_ATTRIBUTE_BYTES} bytes")
        if label not in SCALE_ATTRIBUTES and not _is_plain(attribute.get_type(), text=True):
            raise refuse(name, f"has the attribute {label[:40]!r} with references or objects")


def _check_dataset(
    dataset: Any,
    name: str,
    refuse: Callable[[str, str], PdemlError],
    text: bool,
    references: bool,
) -> int:
    """Bytes that a data set declares."""
    import h5py

    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise refuse(name, "is a virtual data set, whose values are in other ones")
    if properties.get_external_count():
        raise refuse(name, "has external storage: its values are in another file")
    for index in range(properties.get_nfilters()):
        number = properties.get_filter(index)[0]
        if number not in _known_filters():
            raise refuse(name, f"has the unknown filter {number}")
    kind = dataset.get_type()
    unread = references and kind.equal(h5py.h5t.STD_REF_OBJ)
    if not unread and not _is_plain(kind, text):
        raise refuse(name, "holds references, lists of variable length or other objects")
    shape = dataset.get_space().get_simple_extent_dims() if dataset.rank else ()
    size = kind.get_size()
    declared = math.prod(shape) * size
    if layout == h5py.h5d.CHUNKED:
        # one chunk is in memory whole, even if the data set is smaller
        declared = max(declared, math.prod(properties.get_chunk()) * size)
    stored = dataset.get_storage_size()
    if declared > SMALL_BYTES and declared > MAX_RATIO * stored:
        raise refuse(name, f"declares {declared} bytes, but stores {stored}")
    return declared


def _known_filters() -> frozenset[int]:
    from h5py import h5z

    return frozenset(
        {
            h5z.FILTER_DEFLATE,
            h5z.FILTER_SHUFFLE,
            h5z.FILTER_FLETCHER32,
            h5z.FILTER_SZIP,
            h5z.FILTER_NBIT,
            h5z.FILTER_SCALEOFFSET,
            h5z.FILTER_LZF,
        }
    )


def _is_plain(kind: Any, text: bool, nesting: int = 0) -> bool:
    """Whether a type is made of numbers, enumerations and texts alone."""
    from h5py import h5t

    if nesting > MAX_NESTING:
        return False
    match kind:
        case h5t.TypeStringID():
            return text or not kind.is_variable_str()
        case h5t.TypeCompoundID():
            members = (kind.get_member_type(index) for index in range(kind.get_nmembers()))
            return all(_is_plain(member, text, nesting + 1) for member in members)
        case h5t.TypeArrayID():
            return _is_plain(kind.get_super(), text, nesting + 1)
    numbers = {h5t.INTEGER, h5t.FLOAT, h5t.ENUM, getattr(h5t, "COMPLEX", h5t.FLOAT)}
    return kind.get_class() in numbers
