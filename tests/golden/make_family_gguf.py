#!/usr/bin/env python3
"""Writes family checkpoints of tests/data/families as GGUF files, laid out as llama.cpp's converter does.

  python tests/golden/make_family_gguf.py      (needs gguf 0.19.0 and numpy)

The weights are the checkpoints' own bfloat16 (vectors in float32, as the converter has them), so the
golden answers of families/ hold for families_gguf/. The vocabulary is the bytes and one merge.
"""

import json
import math
import pathlib

import gguf
import numpy as np

MERGE = "\u0120 t"  # a space and a t
DATA = pathlib.Path(__file__).resolve().parent.parent / "data"


def read_safetensors(path):
    """{name: float32 array} of a file of bfloat16 and float32 tensors."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        data = raw[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        elif entry["dtype"] == "F32":
            values = np.frombuffer(data, "<f4")
        else:
            continue
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def byte_tokens():
    """The bytes in the spelling of byte-level BPE; in place of 255, which is in no text, the merge."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    spelling = {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [spelling[byte] for byte in range(255)] + [MERGE.replace(" ", "")]


def stack_qkv(tensor, heads):
    """[head, qkv, ...] rows to [qkv, head, ...]."""
    rest = tensor.shape[1:]
    size = tensor.shape[0] // (3 * heads)
    return tensor.reshape(heads, 3, size, *rest).swapaxes(0, 1).reshape(tensor.shape)


def interleave_rotary(tensor, heads):
    """Rows of the two halves of each head in turn: the order that GGUF's LLaMA rotates in."""
    return tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)


def rope_divisors(config):
    """What each rotary frequency is divided by under the scaling of LLaMA 3.1."""
    scaling = config["rope_scaling"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    divisors = []
    for i in range(0, config["head_dim"], 2):
        turns = scaling["original_max_position_embeddings"] / (
            2 * math.pi * config["rope_theta"] ** (i / config["head_dim"]))
        share = min(max((turns - low) / (high - low), 0), 1)
        divisors.append(1 / ((1 - share) / scaling["factor"] + share))
    return np.array(divisors, "<f4")


def gpt2(writer, config):
    writer.add_context_length(config["n_ctx"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])

    def convert(name, tensor):
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            return None
        return tensor.T if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")) else tensor

    return convert


def gpt_neox(writer, config):
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(int(config["rotary_pct"] * (config["hidden_size"] // heads)))
    writer.add_head_count(heads)
    writer.add_parallel_residual(config["use_parallel_residual"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    return lambda name, tensor: stack_qkv(tensor, heads) if ".query_key_value." in name else tensor


def bloom(writer, config):
    heads = config["num_attention_heads"]
    writer.add_context_length(config["seq_length"])
    writer.add_embedding_length(config["n_embed"])
    writer.add_feed_forward_length(4 * config["n_embed"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    return lambda name, tensor: stack_qkv(tensor, heads) if ".query_key_value." in name else tensor


def llama3(writer, config):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads["q_proj"])
    writer.add_head_count_kv(heads["k_proj"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tensor("rope_freqs.weight", rope_divisors(config))

    def convert(name, tensor):
        projection = name.split(".")[-2]
        return interleave_rotary(tensor, heads[projection]) if projection in heads else tensor

    return convert


FAMILIES = {
    "gpt2": (gguf.MODEL_ARCH.GPT2, gpt2),
    "gpt_neox": (gguf.MODEL_ARCH.GPTNEOX, gpt_neox),
    "bloom": (gguf.MODEL_ARCH.BLOOM, bloom),
    "llama3": (gguf.MODEL_ARCH.LLAMA, llama3),
}


def write(family, target):
    folder = DATA / "families" / family
    config = json.loads((folder / "config.json").read_text())
    layers = config.get("n_layer") or config.get("num_hidden_layers")
    architecture, describe = FAMILIES[family]
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_block_count(layers)
    convert = describe(writer, config)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(byte_tokens())
    writer.add_token_types([gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges([MERGE])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    names = gguf.get_tensor_name_map(architecture, layers)
    for name, tensor in sorted(read_safetensors(folder / "model.safetensors").items()):
        new_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        tensor = convert(name, tensor)
        if tensor is None or new_name is None:
            print(f"{family}: {name} left out")
            continue
        kind = gguf.GGMLQuantizationType.F32 if tensor.ndim == 1 else gguf.GGMLQuantizationType.BF16
        writer.add_tensor(new_name, gguf.quants.quantize(np.ascontiguousarray(tensor), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    (DATA / "families_gguf").mkdir(exist_ok=True)
    for family in FAMILIES:
        write(family, DATA / "families_gguf" / f"{family}.gguf")
