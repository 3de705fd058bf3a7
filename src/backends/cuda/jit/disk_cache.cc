#include "backends/cuda/jit/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/hash.h"
#include "core/log.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'B', 'R', 'Y', 'C', 'A', 'C', 'H', '1'};
constexpr std::string_view kSuffix = ".kernel";
constexpr std::string_view kTemporary = "write-";
// A temporary file this old belongs to a process that died.
constexpr auto kAbandoned = std::chrono::hours(1);

struct Header {
  char magic[8];
  uint64_t key_bytes;
  uint64_t value_bytes;
  uint64_t checksum;  // of key and value
};

uint64_t checksum(std::string_view key, std::span<const std::byte> value) {
  return hash64(value, hash64(std::as_bytes(std::span(key))));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool close() {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

bool write_all(int fd, const void* data, size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

std::optional<std::vector<std::byte>> read_all(int fd, int64_t max_bytes) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > max_bytes)
    return std::nullopt;
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::read(fd, bytes.data() + at, bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;
    at += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace

DiskCache::DiskCache(std::string folder, int64_t max_bytes)
    : folder_(std::move(folder)), max_bytes_(max_bytes) {}

std::string DiskCache::path_of(std::string_view key) const {
  const auto bytes = std::as_bytes(std::span(key));
  return format("{}/{:016x}{:016x}{}", folder_, hash64(bytes), hash64(bytes, 1), kSuffix);
}

std::optional<std::vector<std::byte>> DiskCache::get(std::string_view key) const {
  if (folder_.empty()) return std::nullopt;
  const std::string path = path_of(key);
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return std::nullopt;
  std::optional<std::vector<std::byte>> bytes = read_all(file.get(), max_bytes_);
  Header header{};
  if (bytes && bytes->size() >= sizeof(header)) {
    std::memcpy(&header, bytes->data(), sizeof(header));
    const uint64_t rest = bytes->size() - sizeof(header);
    if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) == 0 && header.key_bytes <= rest &&
        header.value_bytes == rest - header.key_bytes) {
      const std::string_view stored(reinterpret_cast<const char*>(bytes->data()) + sizeof(header),
                                    header.key_bytes);
      const auto value = std::span(*bytes).subspan(sizeof(header) + header.key_bytes);
      if (checksum(stored, value) == header.checksum) {
        if (stored != key) return std::nullopt;  // two keys of one hash
        ::futimens(file.get(), nullptr);         // read lately
        return std::vector<std::byte>(value.begin(), value.end());
      }
    }
  }
  // Another process may have put a sound entry in its place by now: then that is lost, no more.
  ::unlink(path.c_str());
  return std::nullopt;
}

void DiskCache::remove(std::string_view key) const {
  if (!folder_.empty()) ::unlink(path_of(key).c_str());
}

void DiskCache::put(std::string_view key, std::span<const std::byte> value) {
  const auto bytes = static_cast<int64_t>(sizeof(Header) + key.size() + value.size());
  if (folder_.empty() || bytes > max_bytes_) return;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (!write(path_of(key), key, value)) return;
  const std::lock_guard lock(mutex_);
  until_trim_ -= bytes;
  // Others write as well: look at the folder again at the latest after a sixteenth of its size.
  if (until_trim_ < 0) until_trim_ = std::min(max_bytes_ - trim(), max_bytes_ / 16);
}

bool DiskCache::write(const std::string& path, std::string_view key,
                      std::span<const std::byte> value) {
  std::string temporary = format("{}/{}XXXXXX", folder_, kTemporary);
  Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) {
    warn("open");
    return false;
  }
  Header header{{}, key.size(), value.size(), checksum(key, value)};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  const char* failed = nullptr;
  if (!write_all(file.get(), &header, sizeof(header)) ||
      !write_all(file.get(), key.data(), key.size()) ||
      !write_all(file.get(), value.data(), value.size()) || !file.close())
    failed = "write";
  else if (::rename(temporary.c_str(), path.c_str()) != 0)
    failed = "rename";
  if (!failed) return true;
  warn(failed);
  ::unlink(temporary.c_str());
  return false;
}

int64_t DiskCache::trim() const {
  struct Entry {
    fs::file_time_type time;
    int64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  int64_t total = 0;
  const auto now = fs::file_time_type::clock::now();
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code gone;  // another process removes files as well
    const auto time = it->last_write_time(gone);
    const auto bytes = static_cast<int64_t>(it->file_size(gone));
    if (gone) continue;
    if (name.ends_with(kSuffix)) {
      entries.push_back({time, bytes, it->path()});
      total += bytes;
    } else if (name.starts_with(kTemporary) && now - time > kAbandoned) {
      fs::remove(it->path(), gone);
    }
  }
  if (total <= max_bytes_) return total;
  std::ranges::sort(entries, {}, &Entry::time);
  const int64_t goal = max_bytes_ / 8 * 7;  // so that the next put need not trim again
  for (const Entry& entry : entries) {
    if (total <= goal) break;
    std::error_code ignored;
    fs::remove(entry.path, ignored);
    total -= entry.bytes;
  }
  return total;
}

void DiskCache::warn(const char* call) {
  const std::string reason = std::strerror(errno);
  const std::lock_guard lock(mutex_);
  if (std::exchange(warned_, true)) return;
  log_warning("[cuda] kernels cannot be kept in '{}' ({}: {}): they will be compiled again",
              folder_, call, reason);
}

}  // namespace brayton::cuda
