// A file that appears under its name only when it is complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace brayton {

// Writes beside `path` under a temporary name; commit() puts the bytes on the disk and renames.
// Without commit() nothing stays. Members throw Error(kEnvironment) naming path and call.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes, uint64_t offset);
  void commit();

 private:
  [[noreturn]] void fail(const char* call) const;

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace brayton
