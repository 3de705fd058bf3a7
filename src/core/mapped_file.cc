#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
  ~Descriptor() { ::close(fd); }
};

void advise(const void* begin, size_t size, const std::byte* data, size_t limit, int advice,
            bool whole_pages) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto first = reinterpret_cast<uintptr_t>(begin);
  auto last = std::min(first + size, reinterpret_cast<uintptr_t>(data) + limit);
  first = whole_pages ? (first + page - 1) / page * page : first / page * page;
  if (whole_pages) last = last / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail("open", path);
  struct stat status{};
  if (::fstat(file.fd, &status) != 0) fail("fstat", path);
  if (!S_ISREG(status.st_mode))
    throw_error(ErrorCode::kEnvironment, "[file] '{}' must be a regular file", path);
  const auto size = static_cast<size_t>(status.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) fail("mmap", path);
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::will_need(const void* begin, size_t size) const {
  advise(begin, size, data_, size_, MADV_WILLNEED, false);
}

void MappedFile::drop_pages(const void* begin, size_t size) const {
  advise(begin, size, data_, size_, MADV_DONTNEED, true);
}

std::string read_text_file(const std::string& path, size_t max_bytes) {
  const auto file = MappedFile::open(path);
  if (file->size() > max_bytes)
    throw_error(ErrorCode::kInvalidModel, "[file] '{}' must have at most {} bytes, got {}", path,
                max_bytes, file->size());
  return {reinterpret_cast<const char*>(file->bytes().data()), file->size()};
}

}  // namespace brayton
