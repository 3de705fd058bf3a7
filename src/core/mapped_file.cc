#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/format.h"

namespace brayton {
namespace {

[[noreturn]] void fail(const char* call, const std::string& path) {
  throw_error(ErrorCode::kEnvironment, "[file] {}('{}'): {}", call, path, std::strerror(errno));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// Whole pages within [begin, begin + size), or all pages that touch it.
void advise(const void* begin, size_t size, std::span<const std::byte> all, int advice,
            bool whole_pages) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto first = reinterpret_cast<uintptr_t>(begin);
  auto last = std::min(first + size, reinterpret_cast<uintptr_t>(all.data()) + all.size());
  first = whole_pages ? (first + page - 1) / page * page : first / page * page;
  if (whole_pages) last = last / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail("open", path);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail("fstat", path);
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kEnvironment, "[file] '{}' must be a regular file", path);
  const auto size = static_cast<size_t>(status.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) fail("mmap", path);
  }
  const std::span<std::byte> mapping(static_cast<std::byte*>(data), size);
  return std::shared_ptr<const MappedFile>(new MappedFile(path, mapping, mapping, false));
}

std::shared_ptr<const MappedFile> MappedFile::from_bytes(const std::string& path,
                                                         std::span<const std::byte> bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t readable = (bytes.size() + page - 1) / page * page;
  void* data =
      ::mmap(nullptr, readable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) fail("mmap", path);
  const std::span<std::byte> mapping(static_cast<std::byte*>(data), readable + page);
  const std::span<std::byte> copy = mapping.subspan(readable - bytes.size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.begin());
  std::shared_ptr<const MappedFile> file(new MappedFile(path, copy, mapping, true));
  if (readable > 0 && ::mprotect(data, readable, PROT_READ) != 0) fail("mprotect", path);
  if (::mprotect(mapping.data() + readable, page, PROT_NONE) != 0) fail("mprotect", path);
  return file;
}

MappedFile::~MappedFile() {
  if (!mapping_.empty()) ::munmap(mapping_.data(), mapping_.size());
}

void MappedFile::will_need(const void* begin, size_t size) const {
  advise(begin, size, bytes_, MADV_WILLNEED, false);
}

void MappedFile::drop_pages(const void* begin, size_t size) const {
  if (!copied_) advise(begin, size, bytes_, MADV_DONTNEED, true);
}

std::string read_text_file(const std::string& path, size_t max_bytes) {
  const auto file = MappedFile::open(path);
  if (file->size() > max_bytes)
    throw_error(ErrorCode::kInvalidModel, "[file] '{}' must have at most {} bytes, got {}", path,
                max_bytes, file->size());
  return {reinterpret_cast<const char*>(file->bytes().data()), file->size()};
}

}  // namespace brayton
