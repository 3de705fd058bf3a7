#!/usr/bin/env python3
"""A LLaMA checkpoint of a config's shapes with random bfloat16 weights, for timing builds:
    tools/make_dummy_checkpoint.py CONFIG.json FOLDER
Needs nothing but Python. Matrices are windows of one random tile, norms are 1."""

import argparse
import concurrent.futures
import json
import random
import shutil
import sys
from pathlib import Path

TILE_BYTES = 64 << 20
SHARD_BYTES = 4 << 30


def shapes(config):
    """The tensors' names and shapes, in the order of the layers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or width // heads
    queries, keys = heads * head, config.get("num_key_value_heads", heads) * head
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        scope = f"model.layers.{layer}."
        yield scope + "input_layernorm.weight", (width,)
        yield scope + "self_attn.q_proj.weight", (queries, width)
        yield scope + "self_attn.k_proj.weight", (keys, width)
        yield scope + "self_attn.v_proj.weight", (keys, width)
        yield scope + "self_attn.o_proj.weight", (width, queries)
        yield scope + "post_attention_layernorm.weight", (width,)
        yield scope + "mlp.gate_proj.weight", (inner, width)
        yield scope + "mlp.up_proj.weight", (inner, width)
        yield scope + "mlp.down_proj.weight", (width, inner)
    yield "model.norm.weight", (width,)
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", (config["vocab_size"], width)


def tensor_bytes(shape):
    size = 2
    for dim in shape:
        size *= dim
    return size


def make_tile(size=TILE_BYTES):
    """Little-endian bfloat16 between 1/128 and 1/32 in size, of either sign."""
    source = random.Random(1)
    high = bytes(0x3C if byte < 128 else 0xBC for byte in range(256))
    tile = bytearray(size)
    tile[0::2] = source.randbytes(size // 2)
    tile[1::2] = source.randbytes(size // 2).translate(high)
    return memoryview(bytes(tile))


def write_shard(path, tensors, tile):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        end = at + tensor_bytes(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with open(path, "wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            left = tensor_bytes(shape)
            if len(shape) == 1:
                left -= file.write(b"\x80\x3f" * shape[0])
            begin = random.Random(name).randrange(len(tile) // 64) * 64
            while left > 0:
                written = file.write(tile[begin:begin + left])
                left, begin = left - written, (begin + written) % len(tile)


def shards_of(tensors, limit=SHARD_BYTES):
    """The tensors in groups of at most so many bytes."""
    groups, size = [[]], 0
    for name, shape in tensors:
        if groups[-1] and size + tensor_bytes(shape) > limit:
            groups.append([])
            size = 0
        groups[-1].append((name, shape))
        size += tensor_bytes(shape)
    return groups


def make_checkpoint(config_path, folder):
    """Returns the bytes of weights."""
    config = json.loads(Path(config_path).read_text())
    if config.get("model_type") != "llama":
        raise ValueError(f"{config_path}: model_type must be llama, got {config.get('model_type')!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config_path, folder / "config.json")
    groups = shards_of(shapes(config))
    names = [f"model-{i + 1:05}-of-{len(groups):05}.safetensors" for i in range(len(groups))]
    tile = make_tile()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name, group: write_shard(folder / name, group, tile), names, groups))
    total = sum(tensor_bytes(shape) for group in groups for _, shape in group)
    weight_map = {tensor: name for name, group in zip(names, groups) for tensor, _ in group}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("folder")
    options = parser.parse_args()
    total = make_checkpoint(options.config, options.folder)
    print(f"{options.folder}: {total / 1e9:.1f} GB", file=sys.stderr)


if __name__ == "__main__":
    main()
