// A mapped file shows the bytes of the file; what is no file is an error that names path and call.
#include "core/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "brayton/error.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              ("mapped_file_" + std::to_string(::getpid()) + "_" + test->name());
    fs::create_directories(folder_);
  }
  ~MappedFileTest() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  static std::string message_of(const std::string& path, size_t limit = 1 << 20) {
    try {
      read_text_file(path, limit);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(MappedFileTest, ShowsTheBytes) {
  const std::string text("a\0b\xff", 4);
  const std::string path = write("f", text);
  const auto file = MappedFile::open(path);
  EXPECT_EQ(file->path(), path);
  ASSERT_EQ(file->size(), 4u);
  EXPECT_EQ(std::memcmp(file->bytes().data(), text.data(), 4), 0);
  EXPECT_EQ(read_text_file(path), text);
}

TEST_F(MappedFileTest, AnEmptyFileIsEmpty) {
  const auto file = MappedFile::open(write("f", ""));
  EXPECT_TRUE(file->bytes().empty());
  file->will_need(file->bytes().data(), 10);
  EXPECT_EQ(read_text_file(file->path()), "");
}

TEST_F(MappedFileTest, HintsChangeNoByte) {
  const std::string text(100'000, 'x');
  const auto file = MappedFile::open(write("f", text));
  const std::byte* data = file->bytes().data();
  file->will_need(data + 1, 5000);
  file->drop_pages(data + 1, 50'000);
  file->drop_pages(data, size_t{1} << 40);  // beyond the end
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data), file->size()), text);
}

TEST_F(MappedFileTest, ErrorsNamePathAndCall) {
  const std::string missing = folder_ / "missing";
  EXPECT_EQ(message_of(missing), "[file] open('" + missing + "'): No such file or directory");
  EXPECT_EQ(message_of(folder_), "[file] '" + folder_.string() + "' must be a regular file");
  const std::string fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(message_of(fifo), "[file] '" + fifo + "' must be a regular file");
}

TEST_F(MappedFileTest, TextFilesHaveALimit) {
  const std::string path = write("f", "12345");
  EXPECT_EQ(message_of(path, 5), "no error");
  EXPECT_EQ(message_of(path, 4), "[file] '" + path + "' must have at most 4 bytes, got 5");
}

}  // namespace
}  // namespace brayton
