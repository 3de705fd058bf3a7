// A mapped file shows the file's bytes, and a copied one ends at an unreadable page.
#include "core/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "brayton/error.h"

namespace brayton {
namespace {

std::string message_of(auto&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The kernel refuses to read what the process may not: no signal is needed to find out.
bool readable(const std::byte* at) {
  int ends[2];
  if (::pipe(ends) != 0) return false;
  const bool read = ::write(ends[1], at, 1) == 1;
  ::close(ends[0]);
  ::close(ends[1]);
  return read;
}

TEST(MappedFile, BytesOfAFileSurviveDroppedPages) {
  const std::string path = ::testing::TempDir() + "brayton_mapped_file_test";
  const std::string text(20000, 'x');
  std::FILE* out = std::fopen(path.c_str(), "wb");
  std::fwrite(text.data(), 1, text.size(), out);
  std::fclose(out);
  const auto file = MappedFile::open(path);
  ASSERT_EQ(file->size(), text.size());
  file->will_need(file->bytes().data(), file->size());
  file->drop_pages(file->bytes().data() + 1, file->size() - 1);
  EXPECT_EQ(read_text_file(path), text);
  for (const std::byte b : file->bytes()) ASSERT_EQ(b, std::byte{'x'});
  EXPECT_EQ(message_of([&] { read_text_file(path, 100); }),
            "[file] '" + path + "' must have at most 100 bytes, got 20000");
  std::remove(path.c_str());
}

TEST(MappedFile, CopiesEndAtAnUnreadablePage) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{10000}}) {
    const std::vector<std::byte> bytes(size, std::byte{7});
    const auto file = MappedFile::from_bytes("a copy", bytes);
    EXPECT_EQ(file->path(), "a copy");
    ASSERT_EQ(file->size(), size);
    EXPECT_FALSE(readable(file->bytes().data() + size)) << size;
    file->drop_pages(file->bytes().data(), size);
    for (const std::byte b : file->bytes()) ASSERT_EQ(b, std::byte{7});
  }
}

TEST(MappedFile, ErrorsNameThePath) {
  EXPECT_EQ(message_of([] { MappedFile::open("/nowhere/at/all"); }),
            "[file] open('/nowhere/at/all'): No such file or directory");
  EXPECT_EQ(message_of([] { MappedFile::open("/"); }), "[file] '/' must be a regular file");
}

}  // namespace
}  // namespace brayton
