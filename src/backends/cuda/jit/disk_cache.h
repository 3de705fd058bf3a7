// A folder of blobs that outlive the process: compiled kernels by what they were compiled from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brayton::cuda {

// A file per entry, written beside its place and renamed, so that any number of threads and
// processes may share a folder. Entries carry a checksum; a damaged one is removed and missing.
// Nothing here fails: a folder that cannot be read is empty, one that cannot be written stays so.
class DiskCache {
 public:
  // Made at the first put. Empty: no cache. Above `max_bytes` the entries that were not read or
  // written for longest go.
  explicit DiskCache(std::string folder, int64_t max_bytes = int64_t{1} << 30);

  std::optional<std::vector<std::byte>> get(std::string_view key) const;
  void put(std::string_view key, std::span<const std::byte> value);
  void remove(std::string_view key) const;

 private:
  std::string path_of(std::string_view key) const;
  bool write(const std::string& path, std::string_view key, std::span<const std::byte> value);
  int64_t trim() const;  // the bytes left
  void warn(const char* call);

  const std::string folder_;
  const int64_t max_bytes_;
  std::mutex mutex_;
  int64_t until_trim_ = 0;  // bytes that may still be written before the folder is looked at
  bool warned_ = false;
};

}  // namespace brayton::cuda
