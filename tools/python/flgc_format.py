"""Write `.flgc` model files (docs/model-format.md, version 1). Needs numpy only.

    from flgc_format import pack_learned, save_flgc

    weight = pack_learned(masked, in_group, out_group)     # [N, C, kh, kw] -> 1-D, group after group
    save_flgc("model.flgc", graph, {"conv.weight": weight, ...})

`graph` is the dictionary that the format describes, `tensors` maps names to numpy arrays: float32, float16, bfloat16 (of the
package ml_dtypes), uint8 or uint16. The same model gives the same bytes.
"""

import json
import os
import struct

import numpy as np

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint8": "U8", "uint16": "U16"}


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _crc_table()


def crc32c(data):
    """CRC-32C (Castagnoli) of `data`, a few MB/s."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def encode_flgc(graph, tensors):
    """The bytes of a `.flgc` file: tensors and metadata keys sorted, header padded to eight bytes, checksum filled in."""
    metadata = {"checksum": "00000000", "format": "flgc", "graph": _json(graph), "version": "1"}
    header, parts, end = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype.name not in DTYPES:
            raise TypeError(f"tensor {name!r}: {array.dtype.name} is none of {', '.join(DTYPES)}")
        if array.dtype.name not in ("uint8", "uint16") and not np.isfinite(array.astype(np.float32)).all():
            raise ValueError(f"tensor {name!r} has values that are not finite")
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
        parts.append(array.tobytes())  # C order
    text = _json(header).encode()
    text += b" " * (-len(text) % 8)
    data = bytearray(struct.pack("<Q", len(text)) + text + b"".join(parts))
    at = data.index(b'"checksum":"00000000"') + len(b'"checksum":"')  # first key of the header, so the first match
    data[at:at + 8] = b"%08x" % crc32c(data)
    return bytes(data)


def _json(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def save_flgc(path, graph, tensors):
    """Write the file beside its target, then rename it."""
    data = encode_flgc(graph, tensors)
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def pack_learned(weight, in_group, out_group):
    """The weights inside groups of a masked `[N, C, kh, kw]`: group after group, `[filters][channels][kh][kw]`, ascending.

    Raises ValueError if a weight outside the groups is not zero.
    """
    in_group, out_group = np.asarray(in_group), np.asarray(out_group)
    if weight.shape[:2] != (len(out_group), len(in_group)):
        raise ValueError(f"weight {weight.shape} does not fit {len(out_group)} filters and {len(in_group)} channels")
    outside = weight.astype(np.float32)[out_group[:, None] != in_group[None, :]]
    if outside.any():
        raise ValueError(f"{np.count_nonzero(outside)} weights outside the groups are not zero")
    parts = [np.zeros(0, weight.dtype)]
    for group in range(1 + max(in_group.max(), out_group.max())):
        filters, channels = np.flatnonzero(out_group == group), np.flatnonzero(in_group == group)
        parts.append(weight[np.ix_(filters, channels)].ravel())
    return np.concatenate(parts)


def group_tensor(groups_of, groups):
    """Group indices in the type that the format wants: U8, U16 above 256 groups."""
    return np.asarray(groups_of, np.uint8 if groups <= 256 else np.uint16)
