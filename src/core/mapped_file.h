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
  // A copy of `bytes` that is called `path` in messages. Its last byte is followed by an unreadable
  // page, so that a read past the end does not go unseen.
  static std::shared_ptr<const MappedFile> from_bytes(const std::string& path,
                                                      std::span<const std::byte> bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

  // Hints to the kernel; `begin` need not be aligned.
  void will_need(const void* begin, size_t size) const;
  void drop_pages(const void* begin, size_t size) const;  // resident pages go, the data stays

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes, std::span<std::byte> mapping,
             bool copied)
      : path_(std::move(path)), bytes_(bytes), mapping_(mapping), copied_(copied) {}

  std::string path_;
  std::span<const std::byte> bytes_;
  std::span<std::byte> mapping_;  // what munmap gets: holds bytes_
  bool copied_;                   // no file holds the data: pages that are dropped are lost
};

// The whole file as a string; throws Error(kEnvironment), and kInvalidModel above `max_bytes`.
std::string read_text_file(const std::string& path, size_t max_bytes = size_t{1} << 28);

}  // namespace brayton
