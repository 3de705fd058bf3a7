// No damage to a file makes a reader crash, read outside of the map, or allocate more than the file
// warrants: it succeeds with tensors inside the file, or throws an Error naming file and field.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>

#include "brayton/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "core/json.h"
#include "testing/allocation_meter.h"
#include "testing/mutate.h"
#include "testing/sample_files.h"

namespace brayton {
namespace {

using testing::Bytes;
using testing::GgufWriter;
using testing::Mutator;

constexpr char kPath[] = "the/damaged.file";

uint64_t touch(const std::map<std::string, TensorView>& tensors) {
  uint64_t sum = 0;
  for (const auto& [name, tensor] : tensors)
    for (int64_t i = 0; i < tensor.bytes(); ++i) sum += tensor.as<uint8_t>()[i];
  return sum;
}

// Runs one case; returns whether the file was taken. `subjects`: an error must hold one of them.
bool survives(size_t file_bytes, const std::function<void()>& read,
              const std::vector<std::string>& subjects) {
  bool taken = true;
  std::string message;
  size_t peak = 0;
  {
    const testing::AllocationMeter meter;
    try {
      read();
    } catch (const Error& error) {
      taken = false;
      message = error.what();
    }
    peak = meter.peak();
  }
  EXPECT_GT(peak, 0u);  // the meter runs
  EXPECT_LE(peak, 64 * file_bytes + (size_t{1} << 20));
  if (!taken) {
    EXPECT_NE(message.find(kPath), std::string::npos) << message;
    EXPECT_TRUE(std::any_of(subjects.begin(), subjects.end(), [&](const std::string& subject) {
      return message.find(subject) != std::string::npos;
    })) << message;
  }
  return taken;
}

// `one_case(seed)` tells whether the file was taken. Both outcomes must be seen: mutations that are
// all refused at the first byte, or all harmless, would prove nothing.
void run_cases(int count, const std::function<bool(uint64_t)>& one_case) {
  int taken = 0;
  for (int seed = 0; seed < count; ++seed) {
    taken += one_case(static_cast<uint64_t>(seed));
    ASSERT_FALSE(::testing::Test::HasFailure()) << "the case of seed " << seed;
  }
  EXPECT_GT(taken, count / 100);
  EXPECT_LT(taken, count * 9 / 10);
  std::printf("seeds 0 to %d: %d files taken, %d refused\n", count - 1, taken, count - taken);
}

const std::vector<std::string> kTensorSubjects = {"field '", "tensor '"};

std::string safetensors_header() {
  return R"({"__metadata__":{"format":"pt","note":"\u00e9"},)"
         R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
         R"("h":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},)"
         R"("scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]},)"
         R"("empty":{"dtype":"F16","shape":[0,5],"data_offsets":[40,40]},)"
         R"("flags":{"dtype":"BOOL","shape":[3,1,2],"data_offsets":[40,46]}}  )";
}

TEST(Mutation, Safetensors) {
  const Bytes good = testing::safetensors_file(safetensors_header(), 46);
  run_cases(30'000, [&](uint64_t seed) {
    Mutator mutator(seed);
    Bytes bytes;
    if (seed % 2 == 0) {  // the header's tokens, under a length that fits
      bytes = testing::safetensors_file(mutator.mutate_json(safetensors_header()), 46);
    } else if (seed % 8 == 1) {
      bytes = good;
      mutator.lie(bytes, 0, 8);
    } else {
      bytes = mutator.mutate(good);
    }
    const auto file = MappedFile::from_bytes(kPath, bytes);
    return survives(bytes.size(), [&] { touch(read_safetensors(*file)); }, kTensorSubjects);
  });
}

TEST(Mutation, SafetensorsIndex) {
  const std::string good =
      R"({"metadata":{"total_size":46,"nested":{"a":[1,2,{"b":null}]}},"weight_map":{)"
      R"("w":"model-00001-of-00002.safetensors","h":"model-00001-of-00002.safetensors",)"
      R"("scalar":"model-00002-of-00002.safetensors","flags":"model-00002-of-00002.safetensors"}})";
  run_cases(20'000, [&](uint64_t seed) {
    Mutator mutator(seed);
    const std::string text = mutator.mutate_json(good);
    const auto read = [&] {
      for (const auto& [name, file] : read_safetensors_index(text, kPath)) {
        EXPECT_EQ(file.find_first_of("/\\"), std::string::npos) << text;
        EXPECT_NE(file, "..") << text;
      }
    };
    return survives(text.size(), read, {"field 'weight_map'", "the index"});
  });
}

GgufWriter gguf_sample() {
  GgufWriter writer(3, 5, 9);
  writer.key("general.architecture", 8).string("llama");
  writer.key("general.alignment", 4).number(uint32_t{32});
  writer.key("a.bool", 7).number(uint8_t{1});
  writer.key("a.f32", 6).number(0.5f);
  writer.key("a.u64", 10).number(uint64_t{7});
  writer.array("tokens", 8, std::vector<std::string>{"a", "bc", "\xff", ""});
  writer.array("scores", 6, std::vector<float>{1, 2, 3});
  writer.array("types", 5, std::vector<int32_t>{1, -2, 3});
  writer.key("nested", 9).number(uint32_t{9}).number(uint64_t{2});
  writer.number(uint32_t{2}).number(uint64_t{1}).number(uint16_t{5});
  writer.number(uint32_t{8}).number(uint64_t{1}).string("x");
  writer.tensor("plain", {4, 2}, 0, 0);
  writer.tensor("half", {3}, 1, 32);
  writer.tensor("blocks", {64, 1, 2}, 3, 64);
  writer.tensor("k", {256}, 14, 160);
  writer.tensor("empty", {0}, 8, 384);
  return writer.data(32, 384);
}

// Two ranges of the file trade places or one is doubled: names, values and tensors that repeat.
void shuffle_fields(Mutator& mutator, const GgufWriter& sample, Bytes& bytes) {
  const auto& fields = sample.fields();
  const size_t a = fields[mutator.below(fields.size())].offset;
  const size_t b = fields[mutator.below(fields.size())].offset;
  const size_t length = std::min<size_t>(4 + mutator.below(40), bytes.size() - std::max(a, b));
  std::memmove(bytes.data() + a, bytes.data() + b, length);
}

void read_arrays(const GgufFile& file) {
  for (const auto& [key, value] : file.metadata().items()) {
    if (!file.has_array(key)) continue;
    size_t bytes = 0;
    for (const auto& read : std::initializer_list<std::function<void()>>{
             [&] {
               for (const std::string_view text : file.strings(key))
                 for (const char c : text) bytes += static_cast<uint8_t>(c);
             },
             [&] { bytes += file.floats(key).size(); }, [&] { bytes += file.ints(key).size(); }}) {
      try {
        read();
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(kPath), std::string::npos);
      }
    }
  }
}

TEST(Mutation, Gguf) {
  const GgufWriter sample = gguf_sample();
  run_cases(35'000, [&](uint64_t seed) {
    Mutator mutator(seed);
    Bytes bytes = sample.bytes();
    if (seed % 4 == 0) {
      bytes = mutator.mutate(sample.bytes());
    } else if (seed % 4 == 1) {
      shuffle_fields(mutator, sample, bytes);
    } else {
      for (uint64_t changes = 1 + mutator.below(3); changes > 0; --changes) {
        const auto& field = sample.fields()[mutator.below(sample.fields().size())];
        mutator.lie(bytes, field.offset, field.width);
      }
    }
    const auto map = MappedFile::from_bytes(kPath, bytes);
    const auto read = [&] {
      const auto file = GgufFile::parse(map);
      touch(file->tensors());
      std::string text = file->metadata().dump();  // strict: throws where a string is not UTF-8
      read_arrays(*file);
    };
    return survives(bytes.size(), read, kTensorSubjects);
  });
}

TEST(Mutation, ConfigJson) {
  const std::string good =
      R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":576,)"
      R"("num_attention_heads":9,"rms_norm_eps":1e-05,"rope_theta":10000.0,"eos_token_id":[1,2],)"
      R"("rope_scaling":{"rope_type":"yarn","factor":4.0,"short_factor":[1.0,1.5,2]},)"
      R"("tie_word_embeddings":true,"sliding_window":null,"torch_dtype":"bfloat16"})";
  run_cases(20'000, [&](uint64_t seed) {
    Mutator mutator(seed);
    const std::string text = mutator.mutate_json(good);
    const auto read = [&] {
      const Json json = parse_json(text, kPath);
      const JsonReader config(json, kPath);
      config.get_string({"model_type"});
      const int64_t hidden = config.get_int({"hidden_size", "n_embd"}, 1, 1 << 20);
      EXPECT_TRUE(hidden >= 1 && hidden <= 1 << 20);
      config.get_int({"num_attention_heads"}, 1, 4096);
      config.get_int({"sliding_window"}, 1, INT64_MAX, 0);
      config.get_double({"rms_norm_eps"});
      config.get_double({"rope_theta"}, 1e4);
      config.get_bool({"tie_word_embeddings"}, false);
      if (config.has("rope_scaling")) {
        const JsonReader scaling = config.object("rope_scaling");
        scaling.get_string({"rope_type", "type"}, "linear");
        scaling.get_doubles("short_factor");
      }
    };
    return survives(text.size(), read, {"field '", "JSON"});
  });
}

}  // namespace
}  // namespace brayton
