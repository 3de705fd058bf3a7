#include "engine/file_layout.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <system_error>
#include <thread>

#include "core/checked_math.h"
#include "core/format.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "core/thread_pool.h"

namespace brayton {
namespace {

static_assert(std::endian::native == std::endian::little, "engine files are little-endian");

constexpr std::string_view kRemedy = "build the engine again";

template <class... Args>
[[noreturn]] void damaged(const MappedFile& file, fmt::format_string<Args...> text,
                          Args&&... args) {
  throw_error(ErrorCode::kInvalidModel, "[{}] {}; {}", file.path(),
              fmt::format(text, std::forward<Args>(args)...), kRemedy);
}

EngineHeader read_header(const MappedFile& file) {
  EngineHeader header;
  if (file.size() < sizeof header)
    damaged(file, "section 'header' must have {} bytes, the file has {}", sizeof header,
            file.size());
  std::memcpy(&header, file.bytes().data(), sizeof header);
  if (std::memcmp(header.magic, kEngineMagic, sizeof kEngineMagic) != 0)
    damaged(file, "section 'header' must start with the mark of an engine file");
  if (header.major != kEngineMajor)
    throw_error(ErrorCode::kUnsupported,
                "[{}] section 'header': version must be {}.x, got {}.{}; {}", file.path(),
                kEngineMajor, header.major, header.minor,
                header.major > kEngineMajor
                    ? "open it with a newer Brayton, or build the engine again with this one"
                    : kRemedy);
  if (header.file_bytes != file.size())
    damaged(file, "section 'header' says {} bytes, the file has {}: it is cut off or altered",
            header.file_bytes, file.size());
  return header;
}

std::vector<SectionEntry> read_table(const MappedFile& file, const EngineHeader& header) {
  const uint64_t table_bytes = uint64_t{header.sections} * sizeof(SectionEntry);
  if (header.sections > kMaxSections || table_bytes > file.size() - sizeof header)
    damaged(file, "section 'table' must fit the file, got {} entries", header.sections);
  std::vector<SectionEntry> table(header.sections);
  if (!table.empty()) std::memcpy(table.data(), file.bytes().data() + sizeof header, table_bytes);
  if (header_hash(header, table) != header.hash)
    damaged(file, "section 'header' or 'table' is damaged: its hash differs");
  return table;
}

std::string name_of(const SectionEntry& entry) {
  return {entry.name, ::strnlen(entry.name, sizeof entry.name)};
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// In file order: inside the file, apart from each other, zeros between them.
void check_places(const MappedFile& file, std::vector<SectionEntry> table) {
  std::sort(table.begin(), table.end(), [](const SectionEntry& a, const SectionEntry& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  uint64_t end = sizeof(EngineHeader) + table.size() * sizeof(SectionEntry);
  for (const SectionEntry& entry : table) {
    const std::string name = name_of(entry);
    const uint64_t alignment = name == "weights" ? kWeightsAlignment : kSectionAlignment;
    if (entry.offset < end || entry.offset > file.size() ||
        entry.bytes > file.size() - entry.offset || entry.offset % alignment != 0)
      damaged(file, "section '{}' must lie aligned in the file after byte {}, got [{}, +{})", name,
              end, entry.offset, entry.bytes);
    if (!all_zero(file.bytes().subspan(end, entry.offset - end)))
      damaged(file, "section '{}' is damaged: the padding before it must be zero", name);
    end = entry.offset + entry.bytes;
  }
  if (end != file.size())
    damaged(file, "section 'table' must reach the end of the file, {} bytes are left",
            file.size() - end);
}

struct Chunk {
  std::span<const std::byte> bytes;
  bool of_weights;
  uint64_t hash = 0;
};

void hash_all(const MappedFile& file, std::vector<Chunk>& chunks) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < chunks.size(); i = next++) {
      chunks[i].hash = chunk_hash(chunks[i].bytes);
      if (chunks[i].of_weights) file.drop_pages(chunks[i].bytes.data(), chunks[i].bytes.size());
    }
  };
  size_t bytes = 0;
  for (const Chunk& chunk : chunks) bytes += chunk.bytes.size();
  const size_t threads =
      std::min<size_t>({16, static_cast<size_t>(available_cores()), 1 + bytes / kHashChunk});
  std::vector<std::thread> others;
  try {
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
  } catch (const std::system_error&) {
    // Fewer threads do the same.
  }
  work();
  for (std::thread& thread : others) thread.join();
}

void check_hashes(const MappedFile& file, const std::vector<SectionEntry>& table) {
  std::vector<Chunk> chunks;
  for (const SectionEntry& entry : table)
    for (uint64_t at = 0; at < entry.bytes; at += kHashChunk)
      chunks.push_back({file.bytes().subspan(entry.offset + at,
                                             std::min<uint64_t>(kHashChunk, entry.bytes - at)),
                        name_of(entry) == "weights"});
  hash_all(file, chunks);
  size_t chunk = 0;
  for (const SectionEntry& entry : table) {
    std::vector<uint64_t> hashes;
    for (uint64_t at = 0; at < entry.bytes; at += kHashChunk)
      hashes.push_back(chunks[chunk++].hash);
    const uint64_t hash = section_hash(hashes, entry.bytes);
    if (hash != entry.hash)
      damaged(file, "section '{}' is damaged: its hash must be {:016x}, got {:016x}",
              name_of(entry), entry.hash, hash);
  }
}

}  // namespace

uint64_t header_hash(EngineHeader header, std::span<const SectionEntry> table) {
  header.hash = 0;
  const uint64_t seed = hash64(std::as_bytes(std::span(&header, 1)));
  return hash64(std::as_bytes(table), seed);
}

uint64_t chunk_hash(std::span<const std::byte> chunk) { return hash64(chunk); }

uint64_t section_hash(std::span<const uint64_t> chunk_hashes, uint64_t bytes) {
  return hash64(std::as_bytes(chunk_hashes), bytes);
}

std::vector<Section> read_sections(const MappedFile& file) {
  const EngineHeader header = read_header(file);
  const std::vector<SectionEntry> table = read_table(file, header);
  check_places(file, table);
  check_hashes(file, table);
  std::vector<Section> sections;
  for (const SectionEntry& entry : table) {
    const std::string name = name_of(entry);
    for (const Section& other : sections)
      if (other.name == name) damaged(file, "section '{}' must be there once", name);
    sections.push_back({name, file.bytes().subspan(entry.offset, entry.bytes)});
  }
  return sections;
}

}  // namespace brayton
