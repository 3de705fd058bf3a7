// A folder, a safetensors file and a GGUF open as named tensors; anything else says what to do.
#include "checkpoint/checkpoint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "brayton/error.h"
#include "checkpoint/gguf.h"
#include "testing/sample_files.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;

// A folder of its own, gone with the object.
class Folder {
 public:
  Folder() {
    std::string name = ::testing::TempDir() + "brayton_checkpoint_XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }
  const Folder& put(const std::string& name, std::span<const std::byte> bytes) const {
    std::ofstream(path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return *this;
  }
  const Folder& put(const std::string& name, std::string_view text) const {
    return put(name, testing::as_bytes(text));
  }
  // One tensor of two floats.
  const Folder& put_tensor(const std::string& file, const std::string& name) const {
    return put(file,
               testing::safetensors_file(
                   R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8));
  }

 private:
  std::string path_;
};

// The message with the folder's path as "D".
std::string fault_of(const Folder& folder, const std::string& name = "") {
  try {
    Checkpoint::open(folder.path(name));
  } catch (const Error& error) {
    std::string message = error.what();
    for (size_t at; (at = message.find(folder.path())) != std::string::npos;)
      message.replace(at, folder.path().size(), "D");
    return message;
  }
  return "no error";
}

TEST(Checkpoint, OpensAFolderOfOneFile) {
  const Checkpoint checkpoint = Checkpoint::open(BRAYTON_TEST_DATA "/novel-2m");
  EXPECT_EQ(checkpoint.format(), Checkpoint::Format::kSafetensors);
  EXPECT_EQ(checkpoint.config().at("model_type"), "llama");
  EXPECT_EQ(checkpoint.tensors().size(), 38u);
  EXPECT_EQ(checkpoint.bytes(), 3672320);
  EXPECT_EQ(checkpoint.gguf(), nullptr);
  EXPECT_EQ(checkpoint.find("no such tensor"), nullptr);
  ASSERT_TRUE(checkpoint.file("tokenizer.json"));
  EXPECT_TRUE(fs::exists(*checkpoint.file("tokenizer.json")));
  EXPECT_FALSE(checkpoint.file("no such file"));
}

TEST(Checkpoint, OpensAFolderOfShards) {
  const Checkpoint checkpoint = Checkpoint::open(BRAYTON_TEST_DATA "/families/llama2_gqa");
  EXPECT_EQ(checkpoint.tensors().size(), 21u);
  ASSERT_NE(checkpoint.find("lm_head.weight"), nullptr);
  ASSERT_NE(checkpoint.find("model.norm.weight"), nullptr);
  EXPECT_EQ(checkpoint.bytes(), 476416);
}

TEST(Checkpoint, OpensAFileWithItsConfigBeside) {
  Folder folder;
  folder.put_tensor("other.safetensors", "t").put("config.json", R"({"model_type":"x"})");
  for (const std::string name : {"", "other.safetensors"}) {
    const Checkpoint checkpoint = Checkpoint::open(folder.path(name));
    EXPECT_EQ(checkpoint.config().at("model_type"), "x");
    EXPECT_EQ(checkpoint.find("t")->shape, Shape({2}));
    EXPECT_EQ(checkpoint.path(), folder.path(name));
    EXPECT_TRUE(checkpoint.file("config.json"));
  }
}

TEST(Checkpoint, OpensAGguf) {
  testing::GgufWriter writer(3, 1, 1);
  writer.key("general.architecture", 8).string("llama").tensor("t", {8, 2}, 0, 0).data(32, 64);
  Folder folder;
  folder.put("m.gguf", writer.bytes()).put("named otherwise", writer.bytes());
  for (const std::string name : {"m.gguf", "named otherwise"}) {
    const Checkpoint checkpoint = Checkpoint::open(folder.path(name));
    EXPECT_EQ(checkpoint.format(), Checkpoint::Format::kGguf);
    EXPECT_EQ(checkpoint.config().at("general.architecture"), "llama");
    EXPECT_EQ(checkpoint.find("t")->shape, Shape({2, 8}));
    EXPECT_EQ(checkpoint.gguf()->version(), 3);
    EXPECT_FALSE(checkpoint.file("m.gguf"));
  }
}

TEST(Checkpoint, CopiesTensorsThatAreNotAligned) {
  const std::string header = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("u":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  for (const size_t pad : {0, 1, 2, 3, 4, 5, 6, 7}) {
    Folder folder;
    folder.put("model.safetensors", testing::safetensors_file(header + std::string(pad, ' '), 11));
    folder.put("config.json", "{}");
    const Checkpoint checkpoint = Checkpoint::open(folder.path());
    const TensorView& tensor = *checkpoint.find("t");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % 4, 0u) << pad;
    for (int i = 0; i < 8; ++i) EXPECT_EQ(tensor.as<uint8_t>()[i], i);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(checkpoint.find("u")->as<uint8_t>()[i], 8 + i);
    checkpoint.release(tensor);
    EXPECT_EQ(tensor.as<uint8_t>()[7], 7);
  }
}

TEST(Checkpoint, ReleasedPagesLeaveMemoryAndComeBack) {
  const Checkpoint checkpoint = Checkpoint::open(BRAYTON_TEST_DATA "/novel-2m");
  const TensorView& tensor = *checkpoint.find("model.embed_tokens.weight");
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto sum = [&] {
    uint64_t total = 0;
    for (int64_t i = 0; i < tensor.bytes(); ++i) total += tensor.as<uint8_t>()[i];
    return total;
  };
  // Whole pages of the tensor in this process's page table: bit 63 of each word of its pagemap.
  const auto resident = [&] {
    const auto first = (reinterpret_cast<uintptr_t>(tensor.data) + page - 1) / page;
    const auto last = (reinterpret_cast<uintptr_t>(tensor.data) + tensor.bytes()) / page;
    std::vector<uint64_t> entries(last - first);
    const int map = ::open("/proc/self/pagemap", O_RDONLY);
    const auto size = static_cast<ssize_t>(entries.size() * sizeof(uint64_t));
    EXPECT_EQ(::pread(map, entries.data(), entries.size() * sizeof(uint64_t),
                      static_cast<off_t>(first * sizeof(uint64_t))),
              size);
    ::close(map);
    return std::count_if(entries.begin(), entries.end(), [](uint64_t e) { return e >> 63; });
  };
  const uint64_t before = sum();
  EXPECT_GT(resident(), 10);
  checkpoint.release(tensor);
  EXPECT_EQ(resident(), 0);
  EXPECT_EQ(sum(), before);
}

TEST(Checkpoint, SaysWhatIsNotACheckpoint) {
  Folder folder;
  EXPECT_EQ(fault_of(folder), "[D] the folder must hold a model, got an empty folder");
  EXPECT_EQ(fault_of(folder, "none"),
            "[D/none] a model must be a folder, a .safetensors, a .gguf or an engine file, got a "
            "path that does not exist");
  folder.put("notes.txt", "hello");
  EXPECT_EQ(
      fault_of(folder, "notes.txt"),
      "[D/notes.txt] a model must be a folder, a .safetensors, a .gguf or an engine file, got a "
      "file of 5 bytes that begins like none of them");
  EXPECT_EQ(fault_of(folder),
            "[D] the folder must hold 'model.safetensors', 'model.safetensors.index.json' or one "
            "*.safetensors file, got none");
  folder.put("pytorch_model.bin", "PK\x03\x04");
  EXPECT_EQ(fault_of(folder),
            "[D] weights must be safetensors, got the pickle file 'pytorch_model.bin', which can "
            "run code when it is read; convert to safetensors");
  EXPECT_EQ(fault_of(folder, "pytorch_model.bin"),
            "[D/pytorch_model.bin] weights must be safetensors or GGUF, got a pickle checkpoint, "
            "which can run code when it is read; convert to safetensors");
  folder.put("m.gguf", "nothing");
  EXPECT_EQ(fault_of(folder),
            "[D] the folder must hold safetensors, got GGUF files; give the path of one of them: "
            "'m.gguf'");
  EXPECT_EQ(fault_of(folder, "m.gguf"), "[D/m.gguf] field 'magic' must be 'GGUF', got 'noth'");
  folder.put_tensor("a.safetensors", "a");
  EXPECT_EQ(fault_of(folder), "[D] the folder must hold 'config.json', got none");
  folder.put("config.json", "[]");
  EXPECT_EQ(fault_of(folder), "[D/config.json] the file must be a JSON object");
  folder.put("config.json", "{}").put_tensor("b.safetensors", "b");
  EXPECT_EQ(fault_of(folder),
            "[D] 'model.safetensors.index.json' must name the tensors of 2 safetensors files, got "
            "no such file");
}

TEST(Checkpoint, TheIndexAndItsShardsMustAgree) {
  Folder folder;
  folder.put("config.json", "{}").put_tensor("1.safetensors", "a").put_tensor("2.safetensors", "b");
  const auto with = [&](const std::string& map) {
    folder.put("model.safetensors.index.json", R"({"weight_map":)" + map + "}");
    return fault_of(folder);
  };
  const std::string index = "[D/model.safetensors.index.json] field 'weight_map'";
  EXPECT_EQ(with(R"({"a":"1.safetensors","b":"2.safetensors"})"), "no error");
  EXPECT_EQ(with(R"({"a":"1.safetensors","b":"3.safetensors"})"),
            index + " must name files of the folder, got '3.safetensors', which is not there");
  EXPECT_EQ(with(R"({"a":"1.safetensors","c":"2.safetensors"})"),
            index + ": 'c' must be in '2.safetensors', got no such tensor");
  EXPECT_EQ(with(R"({"a":"2.safetensors","b":"1.safetensors"})"),
            index + ": 'a' must be in '2.safetensors', got it in '1.safetensors'");
  folder.put_tensor("2.safetensors", "a");
  EXPECT_EQ(with(R"({"a":"1.safetensors","b":"2.safetensors"})"),
            "[D/2.safetensors] tensor 'a' must be in one file, got it in two");
}

TEST(Checkpoint, PartsOfASplitGgufAreRefused) {
  testing::GgufWriter writer(3, 0, 1);
  writer.key("split.count", 2).number(uint16_t{3});
  Folder folder;
  folder.put("m.gguf", writer.bytes());
  EXPECT_EQ(fault_of(folder, "m.gguf"),
            "[D/m.gguf] field 'split.count' must be 1, got 3; join the parts with llama-gguf-split "
            "--merge");
}

}  // namespace
}  // namespace brayton
