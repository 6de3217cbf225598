"""Readers of file layouts, one file each, chosen by content.

A reader is a function ``read(path, file, **options) -> Source | None``, `file` being the opened
HDF5 file or None: None where the content is not of its layout, `pdeml.errors.InvalidDataset` where
it is but is broken. It opens nothing that `pdeml.hdf5.refuse_unsafe` has not passed
(`pdeml.data.opening` calls it for HDF5 files).
"""

READERS: tuple[str, ...] = (
    "pdeml.data.readers.mapped",
    "pdeml.data.readers.native",
    "pdeml.data.readers.pdebench",
    "pdeml.data.readers.well",
    "pdeml.data.readers.apebench",
    "pdeml.data.readers.deepxde",
    "pdeml.data.readers.fno",
)
"""Modules of the readers, in the order in which they are asked."""
