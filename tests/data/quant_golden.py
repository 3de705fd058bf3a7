# tests/data/quant_golden.bin: records of (name, count, bits, float32 values) by gguf, NumPy and ml_dtypes.
# Record: u8 direction (0 to_f32, 1 from_f32), u8 dtype number, u16 0, u32 elements, u32 bytes, bytes, f32[elements].
import struct, sys, numpy as np, ml_dtypes
from gguf import quants, GGMLQuantizationType as G
rng = np.random.default_rng(20260101)
out = [b"BRQG0001"]
def record(direction, number, bits, values):
    bits = bits.tobytes(); values = np.ascontiguousarray(values, np.float32)
    out.append(struct.pack("<BBHII", direction, number, 0, values.size, len(bits)) + bits + values.tobytes())
def half(n):  # any finite float16, subnormals included
    h = rng.integers(0, 65536, n, dtype=np.uint16)
    return np.where((h & 0x7c00) == 0x7c00, h & 0xbfff, h).astype(np.uint16)
types = [  # dtype number, bytes a block, offsets of the float16 scales
    ("Q4_0", 32, 18, [0]), ("Q4_1", 33, 20, [0, 2]), ("Q5_0", 34, 22, [0]), ("Q5_1", 35, 24, [0, 2]),
    ("Q8_0", 36, 34, [0]), ("Q2_K", 37, 84, [80, 82]), ("Q3_K", 38, 110, [108]), ("Q4_K", 39, 144, [0, 2]),
    ("Q5_K", 40, 176, [0, 2]), ("Q6_K", 41, 210, [208])]
for name, number, size, scales in types:
    n = 24 if size > 40 else 64
    b = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for s in scales: b[:, s:s+2] = half(n).view(np.uint8).reshape(n, 2)
    with np.errstate(all="ignore"): v = quants.dequantize(b, G[name])
    assert np.isfinite(v).all()
    record(0, number, b, v)
f16 = np.concatenate([half(1000), np.array([0x7c00, 0xfc00, 0, 0x8000, 1, 0x8001, 0x3ff, 0x7bff], np.uint16)])
record(0, 1, f16, f16.view(np.float16).astype(np.float32))
bf = rng.integers(0, 65536, 1000, dtype=np.uint16); bf = bf[~np.isnan(bf.view(ml_dtypes.bfloat16).astype(np.float32))]
record(0, 2, bf, bf.view(ml_dtypes.bfloat16).astype(np.float32))
f64 = rng.standard_normal(256) * 10.0 ** rng.integers(-44, 36, 256)
record(0, 3, f64, f64.astype(np.float32))
every = np.arange(256, dtype=np.uint8)
record(0, 13, every, every.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
record(0, 14, every, every.view(ml_dtypes.float8_e5m2).astype(np.float32))
x = (rng.standard_normal(2048) * 2.0 ** rng.integers(-30, 18, 2048)).astype(np.float32)
ties = (rng.integers(0, 4096, 256).astype(np.float32) + np.float32(0.5)) * np.float32(2.0 ** -30)
x = np.concatenate([x, ties, np.array([0.0, -0.0, 65504, 65519, 65520, 1e30, -1e30, 1e-40], np.float32)])
with np.errstate(all="ignore"):
    record(1, 1, x.astype(np.float16), x)
    record(1, 2, x.astype(ml_dtypes.bfloat16).view(np.uint16), x)
y = (rng.standard_normal((64, 32)) * 2.0 ** rng.integers(-20, 12, (64, 1))).astype(np.float32); y[5] = 0
record(1, 36, quants.quantize(y, G.Q8_0), y)
open(sys.argv[1], "wb").write(b"".join(out))
