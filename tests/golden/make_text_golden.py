#!/usr/bin/env python3
"""Golden answers of the text layer: hashes of the ids and texts that the Python packages give.

    pip install tokenizers==0.22.2 sentencepiece==0.2.1 jinja2
    python tests/golden/make_text_golden.py                    # the golden files, *.json
    python tests/golden/make_text_golden.py --gguf FILE OUT    # tokenizer.ggml.* of a GGUF as JSON
    python tests/golden/make_text_golden.py --bert VOCAB_TXT   # bert/tokenizer.json
    python tests/golden/make_text_golden.py --unigram          # unigram/tokenizer.model

SentencePiece 0.2.1 is the version that the crate bundles; 0.2.3 breaks ties of equal scores
otherwise.
The random texts and ids come from the generator below; src/text/golden_test.cc has the same.
"""

import json
import struct
import sys
from datetime import datetime, timezone
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
DATA = TESTS / "data" / "text"
MASK = (1 << 64) - 1

RANDOM_TEXTS = 10_000
RANDOM_ID_LISTS = 2_000

# Inclusive ranges of code points; a random character is drawn from a random row.
RANGES = [
    (0x61, 0x7A), (0x61, 0x7A), (0x20, 0x20), (0x41, 0x5A), (0x30, 0x39), (0x21, 0x2F),
    (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x09, 0x0D), (0x00, 0x1F), (0xA0, 0xFF),
    (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA),
    (0x620, 0x6D5), (0x905, 0x94D), (0xE01, 0xE4E), (0x1100, 0x11FF), (0x1E00, 0x1FFE),
    (0x2000, 0x206F), (0x2070, 0x209C), (0x2100, 0x214F), (0x2581, 0x2581), (0x3000, 0x303F),
    (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFE00, 0xFE0F),
    (0xFF01, 0xFFEE), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF),
    (0x20000, 0x2A6DF), (0x10000, 0x10FFFF),
]
# What a character stands back for now and then.
WORDS = [
    "the", " and", "'s", "don't", "I'LL", "\r\n", "\n\n", "   ", "\t", "    ", "1234567", "3.14",
    "<|endoftext|>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "[MASK]", "<0x41>",
    "\u200d", "\ufffd", "e\u0301", "...", "http://", "\u017f", "##ing",
]


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def below(self, end):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % end


def random_texts():
    random = Random(2024)
    texts = []
    for _ in range(RANDOM_TEXTS):
        parts = []
        for _ in range(random.below(33)):
            if random.below(8) == 0:
                parts.append(WORDS[random.below(len(WORDS))])
                continue
            low, high = RANGES[random.below(len(RANGES))]
            parts.append(chr(low + random.below(high - low + 1)))
        texts.append("".join(parts))
    return texts


def random_id_lists(vocab_size):
    random = Random(4202)
    return [[random.below(vocab_size) for _ in range(1 + random.below(24))]
            for _ in range(RANDOM_ID_LISTS)]


class Hash:
    """FNV-1a over 32-bit values; a text goes in as its length and its bytes."""

    def __init__(self):
        self.value = 0xCBF29CE484222325

    def add(self, values):
        value = (self.value ^ len(values)) * 0x100000001B3 & MASK
        for v in values:
            value = (value ^ v) * 0x100000001B3 & MASK
        self.value = value

    def hex(self):
        return f"{self.value:016x}"


def hash_all(lists):
    result = Hash()
    for values in lists:
        result.add(values)
    return result.hex()


# --- the oracles -------------------------------------------------------------------------------

class HuggingFace:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab(True).values()) + 1

    def encode(self, text, parse_special):
        self.tokenizer.encode_special_tokens = not parse_special
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)


class SentencePiece:
    def __init__(self, path):
        import sentencepiece
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.vocab_size = self.processor.get_piece_size()

    def encode(self, text, parse_special):
        return None if parse_special else self.processor.encode(text)

    def decode(self, ids):
        return self.processor.decode(ids)


def byte_level(vocab, merges, pre_tokenizer, normalizer=None, special=()):
    import tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return HuggingFace(tokenizer)


def read_merges(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def from_gguf(name, pre_tokenizer):
    vocab = read_json(DATA / name / "gguf_vocab.json")
    tokens = vocab["tokens"]
    special = [t for t, kind in zip(tokens, vocab["token_types"]) if kind == 3]
    merges = [tuple(m.split(" ")) for m in vocab["merges"]]
    return byte_level({t: i for i, t in enumerate(tokens)}, merges, pre_tokenizer, special=special)


QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def oracles():
    from tokenizers import Regex, Tokenizer, normalizers
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Punctuation, Sequence, Split
    gpt2 = ByteLevel(add_prefix_space=False)
    words = ByteLevel(add_prefix_space=False, use_regex=False)
    merges = read_merges(DATA / "gpt2" / "merges.txt")
    yield "gpt2", byte_level(read_json(DATA / "gpt2/vocab.json"), merges, gpt2,
                             special=["<|endoftext|>"])
    yield "opt", byte_level(read_json(DATA / "opt/vocab.json"), merges, gpt2,
                            special=["<s>", "<pad>", "</s>", "<unk>"])
    yield "qwen2", byte_level(
        read_json(DATA / "qwen2/vocab.json"), read_merges(DATA / "qwen2/merges.txt"),
        Sequence([Split(Regex(QWEN2), "isolated"), words]), normalizers.NFC(),
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    yield "gpt_neox", HuggingFace(Tokenizer.from_file(str(DATA / "gpt_neox/20B_tokenizer.json")))
    yield "novel-2m", HuggingFace(Tokenizer.from_file(str(TESTS / "data/novel-2m/tokenizer.json")))
    yield "bert", HuggingFace(Tokenizer.from_file(str(DATA / "bert/tokenizer.json")))
    yield "falcon", from_gguf("falcon", Sequence([
        Punctuation("contiguous"), gpt2, Digits(individual_digits=False),
        Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    yield "smollm2", from_gguf("smollm2", Sequence([Digits(individual_digits=True), gpt2]))
    yield "mistral", SentencePiece(DATA / "mistral" / "tokenizer.model.v1")
    yield "unigram", SentencePiece(DATA / "unigram" / "tokenizer.model")


def tokenizer_golden():
    wiki = (DATA / "wikitext2" / "wiki.test.raw").read_text(encoding="utf-8").split("\n")
    random = random_texts()
    result = {"random_texts": hash_all(t.encode() for t in random), "tokenizers": {}}
    for name, oracle in oracles():
        golden = {}
        for corpus, texts in (("wiki", wiki), ("random", random)):
            for parse_special in (True, False):
                ids = [oracle.encode(t, parse_special) for t in texts]
                if None in ids:
                    continue
                kind = corpus + ("" if parse_special else "_plain")
                golden[kind] = {"ids": hash_all(ids), "count": sum(map(len, ids)),
                                "text": hash_all(oracle.decode(i).encode() for i in ids)}
        lists = random_id_lists(oracle.vocab_size)
        golden["random_ids"] = {"text": hash_all(oracle.decode(i).encode() for i in lists)}
        golden["vocab_size"] = oracle.vocab_size
        result["tokenizers"][name] = golden
        print(name, golden, file=sys.stderr)
    return result


# --- decoders ----------------------------------------------------------------------------------

DECODER_TOKENS = [
    "\u2581Hello", "\u2581wor", "ld", "\u2581", "\u2581\u2581x", "<0xE5>", "<0x8F>", "<0xAB>", "<0xF0>",
    "<0x41>", "<0xC3>", "##ing", "##s", "end</w>", "a</w>b", "<pad>", "|", "\u0120x", "\u010a", "\u00e5",
    "\u0131\u00ab", "\u00e9\u4e16", "y", "yyy", "n't", " .", "'s", "do not", "<s>",
]


def decoder_golden():
    """Every decoder of tokenizer.json over random ids of a small vocabulary."""
    import tokenizers
    from tokenizers import Regex, decoders as d
    chains = [
        None, d.ByteLevel(), d.Metaspace(), d.Metaspace(prepend_scheme="never"), d.WordPiece(),
        d.WordPiece(cleanup=False), d.BPEDecoder(), d.CTC(), d.Fuse(), d.ByteFallback(),
        d.Sequence([d.Replace("\u2581", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]),
        d.Sequence([d.Replace("\u2581", " "), d.ByteFallback(), d.Fuse()]),
        d.Sequence([d.Fuse(), d.Strip("y", 2, 3)]), d.Strip("y", 1, 0),
        d.Replace(Regex("[ay]+"), "<>"), d.Sequence([d.Fuse(), d.Replace("ldy", "_")]),
        d.Sequence([d.ByteFallback(), d.Metaspace()]), d.Sequence([d.ByteLevel(), d.CTC()]),
    ]
    random = Random(77)
    result = []
    for decoder in chains:
        vocab = {t: i for i, t in enumerate(DECODER_TOKENS)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="y"))
        tokenizer.add_special_tokens(["<s>"])
        if decoder:
            tokenizer.decoder = decoder
        cases = []
        while len(cases) < 50:
            ids = [random.below(len(vocab)) for _ in range(1 + random.below(12))]
            ids.append(2)
            if not has_mixed_bytes([DECODER_TOKENS[i] for i in ids if i != vocab["<s>"]]):
                cases.append({"ids": ids, "text": tokenizer.decode(ids),
                              "with_special": tokenizer.decode(ids, skip_special_tokens=False)
                              if vocab["<s>"] in ids else None})
        result.append({"tokenizer": json.loads(tokenizer.to_str()), "cases": cases})
    return result


def has_mixed_bytes(tokens):
    """Whether a run of byte tokens is good in part only: the crate then drops all of it."""
    run = b""
    for token in tokens + [""]:
        if token.startswith("<0x"):
            run += bytes([int(token[3:5], 16)])
            continue
        text = run.decode(errors="replace")
        if "\ufffd" in text and text.strip("\ufffd"):
            return True
        run = b""
    return False


# --- chat templates ----------------------------------------------------------------------------

def jinja_environment():
    """As transformers/utils/chat_template_utils.py sets it up."""
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


def message(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = {
    "question": [message("user", "What is 2 < 3 & 'x'?")],
    "system": [message("system", " Be brief. "), message("user", "Hi\n")],
    "turns": [message("system", "Be brief."), message("user", "Hi"), message("assistant", "Ho! "),
              message("user", "\u4f60\u597d \U0001f999 \u00e9\n\nnew")],
    "no_system": [message("user", "a"), message("assistant", "b"), message("user", "c")],
    "two_users": [message("user", "a"), message("user", "b")],
    "assistant_first": [message("assistant", "a")],
    "empty": [],
}
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "Tells the <weather> & 'more'", "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "default": "K\u00f6ln"}},
        "required": ["place"], "limits": [1, 2.5, True, None, []], "none": {}}}}
NOW = 1_709_164_801  # 2024-02-29 00:00:01 UTC
EXTRAS = [{}, {"tools": [TOOL], "custom": 3}]


def template_golden():
    import jinja2
    environment = jinja_environment()
    result = []
    for path in sorted((DATA / "templates").glob("*.jinja")):
        template = environment.from_string(path.read_text(encoding="utf-8"))
        for name, messages in CONVERSATIONS.items():
            for extra in EXTRAS:
                for prompt in (True, False):
                    case = {"template": path.name, "conversation": name, "messages": messages,
                            "extra": dict(extra, now=NOW), "add_generation_prompt": prompt}
                    try:
                        case["rendered"] = template.render(
                            messages=messages, add_generation_prompt=prompt, bos_token="<s>",
                            eos_token="</s>", **extra,
                            strftime_now=datetime.fromtimestamp(NOW, timezone.utc).strftime)
                    except jinja2.exceptions.UndefinedError:
                        case["fails"] = True
                    except jinja2.exceptions.TemplateError as error:
                        case["raises"] = str(error)
                    result.append(case)
    return result


# --- inputs ------------------------------------------------------------------------------------

def read_gguf(path):
    """tokenizer.* of a GGUF file."""
    sizes = dict(zip(range(13), "BbHhIif?__Qqd"))
    with open(path, "rb") as file:
        def scalars(code, count=1):
            return struct.unpack(f"<{count}{code}", file.read(struct.calcsize(f"<{count}{code}")))

        def text():
            return file.read(scalars("Q")[0]).decode()

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                kind, count = scalars("I")[0], scalars("Q")[0]
                return [text() for _ in range(count)] if kind == 8 else \
                    list(scalars(sizes[kind], count))
            return scalars(sizes[kind])[0]

        assert file.read(4) == b"GGUF"
        scalars("I")
        count = scalars("Q", 2)[1]
        pairs = {}
        for _ in range(count):
            name = text()
            pairs[name] = value(scalars("I")[0])
    return {k: v for k, v in pairs.items() if k.startswith("tokenizer.")}


def write_gguf_vocab(source, target):
    pairs = read_gguf(source)
    names = {"model": "model", "pre": "pre", "tokens": "tokens", "token_type": "token_types",
             "merges": "merges", "bos_token_id": "bos", "eos_token_id": "eos",
             "unknown_token_id": "unk"}
    vocab = {to: pairs["tokenizer.ggml." + name] for name, to in names.items()
             if "tokenizer.ggml." + name in pairs}
    write_json(target, vocab)


def write_bert(vocab_txt):
    from tokenizers import BertWordPieceTokenizer
    BertWordPieceTokenizer(vocab_txt, lowercase=True).save(str(DATA / "bert/tokenizer.json"), False)


def train_unigram():
    import sentencepiece
    sentencepiece.SentencePieceTrainer.train(
        input=str(DATA / "wikitext2/wiki.test.raw"), model_type="unigram", vocab_size=1000,
        model_prefix=str(DATA / "unigram/tokenizer"), normalization_rule_name="nmt_nfkc",
        input_sentence_size=2000, shuffle_input_sentence=False, num_threads=1)
    (DATA / "unigram/tokenizer.vocab").unlink()


def write_json(path, value):
    Path(path).write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def main():
    match sys.argv[1:]:
        case ["--gguf", source, target]:
            write_gguf_vocab(source, target)
        case ["--bert", vocab_txt]:
            write_bert(vocab_txt)
        case ["--unigram"]:
            train_unigram()
        case []:
            write_json(DATA / "golden.json", tokenizer_golden())
            write_json(DATA / "decoders.json", decoder_golden())
            write_json(DATA / "templates" / "golden.json", template_golden())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
