// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace brayton {

class MappedFile {
 public:
  // Throws Error(kEnvironment) naming the path and the failing call.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }

  // Hints to the kernel; `begin` need not be aligned.
  void will_need(const void* begin, size_t size) const;
  void drop_pages(const void* begin, size_t size) const;  // resident pages go, the data stays

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// The whole file as a string; throws Error(kEnvironment), and kInvalidModel above `max_bytes`.
std::string read_text_file(const std::string& path, size_t max_bytes = size_t{1} << 28);

}  // namespace brayton
