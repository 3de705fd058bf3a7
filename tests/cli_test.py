"""The commands keep their contract: JSON keys, exit codes, one object on stdout, messages on stderr."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

BRAYTON = sys.argv.pop(1)
DATA = pathlib.Path(__file__).parent / "data"
NOVEL = str(DATA / "novel-2m")
GOLDEN = json.loads((DATA / "novel-2m" / "golden.json").read_text())


def call(*arguments, stdin=""):
    return subprocess.run([BRAYTON, *map(str, arguments)], input=stdin, capture_output=True, text=True)


class Commands(unittest.TestCase):
    def answer(self, *arguments, keys):
        done = call(*arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertLessEqual(set(keys), set(result))
        return result

    def wrong(self, *arguments, message):
        done = call(*arguments)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn(message, done.stderr)

    def test_run(self):
        case = GOLDEN["cases"][0]
        ids = ",".join(map(str, case["ids"]))
        arguments = ["run", NOVEL, "--prompt-ids", ids, "--max-tokens", 64, "--ignore-eos", "--dtype", "float32"]
        keys = ["prompt_token_ids", "token_ids", "text", "finish_reason", "logprobs", "timings", "device"]
        result = self.answer(*arguments, keys=keys)
        self.assertEqual(result["prompt_token_ids"], case["ids"])
        self.assertEqual(result["token_ids"], case["greedy64"])
        self.assertEqual(result["text"], case["text"])
        self.assertEqual(result["finish_reason"], "length")
        self.assertLessEqual({"load_s", "ttft_ms", "decode_tok_s"}, set(result["timings"]))
        plain = call(*arguments)
        self.assertEqual((plain.returncode, plain.stdout), (0, case["text"]))

    def test_sampling_options_reach_the_sampler(self):
        run = ["run", NOVEL, "--prompt", "It was", "--max-tokens", 12, "--ignore-eos", "--temperature", 1]
        first = self.answer(*run, "--seed", 3, "--logprobs", 2, keys=[])
        self.assertEqual(first["token_ids"], self.answer(*run, "--seed", 3, keys=[])["token_ids"])
        self.assertNotEqual(first["token_ids"], self.answer(*run, "--seed", 4, keys=[])["token_ids"])
        self.assertEqual(len(first["logprobs"]), 12)
        self.assertEqual(len(first["logprobs"][0]["top"]), 2)
        stop = self.answer(*run, "--seed", 3, "--stop-token-ids", first["token_ids"][4], keys=[])
        self.assertEqual(stop["finish_reason"], "stop")
        banned = self.answer(*run, "--seed", 3, "--logit-bias", f"{first['token_ids'][0]}:-100", keys=[])
        self.assertNotEqual(first["token_ids"][0], banned["token_ids"][0])

    def test_prompt_from_stdin_and_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("It was")
            file.flush()
            options = ["run", NOVEL, "--max-tokens", 8, "--ignore-eos"]
            from_file = call(*options, "--prompt-file", file.name)
            self.assertEqual(from_file.stdout, call(*options, "--prompt", "It was").stdout)
            self.assertEqual(from_file.stdout, call(*options, stdin="It was").stdout)

    def test_build_and_dump(self):
        with tempfile.TemporaryDirectory() as folder:
            engine = pathlib.Path(folder) / "novel.engine"
            result = self.answer("build", NOVEL, "-o", engine, keys=["bytes", "seconds", "passes", "kernels"])
            self.assertEqual(result["bytes"], engine.stat().st_size)
            self.assertLess(result["activation_bytes"], result["activation_bytes_unshared"])
            dump = call("build", NOVEL, "-o", engine, "--dump-after", "fuse_gate_up")
            self.assertIn("gated_activation", dump.stdout)
            self.assertIn("family", self.answer("inspect", engine, keys=["memory_plan", "kernels"]))
            damaged = bytearray(engine.read_bytes())
            damaged[-1] ^= 1
            engine.write_bytes(damaged)
            self.wrong("run", engine, "--prompt", "x", message=str(engine))
        self.wrong("build", NOVEL, "-o", "x", "--dump-after", "nothing", message="fuse_qkv")

    def test_inspect(self):
        result = self.answer("inspect", NOVEL, keys=["family", "shapes", "dtype", "memory_plan", "kernels"])
        self.assertEqual(result["family"], "llama")
        self.assertEqual(result["shapes"]["vocab_size"], 8192)
        self.assertIn("llama", call("inspect", NOVEL).stdout)

    def test_dummy_weights_of_a_published_size(self):
        config = DATA / "configs" / "llama2-7b.json"
        result = self.answer("inspect", config, "--load-format", "dummy", keys=["memory_plan"])
        self.assertEqual(result["parameters"], 6738415616)

    def test_eval(self):
        case = GOLDEN["cases"][0]
        ids = ",".join(map(str, case["ids"]))
        logits = self.answer("eval", "logits", NOVEL, "--ids", ids, "--dtype", "float32", keys=["last_logits", "nll"])
        self.assertEqual(len(logits["nll"]), len(case["ids"]) - 1)
        self.assertEqual(max(range(8192), key=logits["last_logits"].__getitem__), case["top32_ids"][0])
        with tempfile.NamedTemporaryFile("w") as text:
            text.write("The old man looked at the sea, and the sea was calm. " * 40)
            text.flush()
            command = ["eval", "nll", NOVEL, "--text", text.name, "--window", 64, "--tokens", 256]
            result = self.answer(*command, keys=["mean_nll", "windows", "tokens"])
        self.assertEqual((result["windows"], result["tokens"]), (4, 4 * 63))
        self.assertTrue(0 < result["mean_nll"] < 9)

    def test_bench(self):
        latency = ["bench", "latency", NOVEL, "--batch", 2, "--input", 16, "--output", 8]
        keys = ["ttft_ms", "itl_ms", "decode_tok_s", "fraction_of_floor"]
        self.assertLessEqual({"p50", "p99"}, set(self.answer(*latency, keys=keys)["itl_ms"]))
        throughput = ["bench", "throughput", NOVEL, "--requests", 5, "--input", 16, "--output", 8]
        keys = ["requests", "seconds", "output_tok_s", "total_tok_s", "steps", "host_us_per_step"]
        self.assertEqual(self.answer(*throughput, keys=keys)["requests"], 5)
        with tempfile.NamedTemporaryFile("w") as data:
            data.write('{"prompt": "It was"}\n{"turns": ["The sea", "x"]}\n')
            data.flush()
            result = self.answer(*throughput, "--dataset", data.name, keys=[])
        self.assertEqual(result["requests"], 2)

    def test_what_is_wrong_ends_with_2_and_names_it(self):
        self.wrong("run", "/nonexistent/model", "--prompt", "x", message="/nonexistent/model")
        self.wrong("run", NOVEL, "--unknown", message="--unknown")
        self.wrong(message="subcommand")
        self.wrong("run", NOVEL, "--prompt-ids", "1,x", message="--prompt-ids")
        self.wrong("run", NOVEL, "--prompt-ids", "1,99999", message="99999")
        self.wrong("run", NOVEL, "--prompt", "x", "--temperature", "nan", message="temperature")
        self.wrong("run", NOVEL, "--prompt", "x", "--chat", message="chat template")
        self.wrong("run", NOVEL, "--prompt", "x", "--device", "cuda", message="--device cpu")
        self.wrong("run", NOVEL, "--prompt", "x", "--cpu", "avx9", message="avx9")
        self.wrong("eval", "nll", NOVEL, "--text", "/nonexistent.txt", message="/nonexistent.txt")

    def test_help(self):
        for command in [[], ["run"], ["build"], ["inspect"], ["eval"], ["bench"]]:
            done = call(*command, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("Usage", done.stdout)


if __name__ == "__main__":
    unittest.main()
