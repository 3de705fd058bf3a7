// The engine file's outer structure: header, section table, hashes. README.md describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brayton {

class MappedFile;

inline constexpr char kEngineMagic[8] = {'B', 'R', 'A', 'Y', 'T', 'O', 'N', '\x1a'};
inline constexpr uint32_t kEngineMajor = 1;  // another one cannot be read
inline constexpr uint32_t kEngineMinor = 1;  // newer ones add sections and fields
inline constexpr int64_t kSectionAlignment = 64;
inline constexpr int64_t kWeightsAlignment = 4096;  // of the section "weights"
inline constexpr int64_t kTensorAlignment = 64;     // within it
inline constexpr int64_t kHashChunk = int64_t{4} << 20;
inline constexpr uint32_t kMaxSections = 1024;

// On disk, little-endian. `hash`: of the header with hash = 0, followed by the section table.
struct EngineHeader {
  char magic[8];
  uint32_t major;
  uint32_t minor;
  uint64_t file_bytes;
  uint32_t sections;
  uint32_t zero;
  uint64_t hash;
  uint64_t reserved[3];  // zero
};
static_assert(sizeof(EngineHeader) == 64);

struct SectionEntry {
  char name[40];  // padded with zeros
  uint64_t offset;
  uint64_t bytes;
  uint64_t hash;
};
static_assert(sizeof(SectionEntry) == 64);

uint64_t header_hash(EngineHeader header, std::span<const SectionEntry> table);

// Hash of a section from the hashes of its chunks, each of kHashChunk bytes, the last shorter.
uint64_t chunk_hash(std::span<const std::byte> chunk);
uint64_t section_hash(std::span<const uint64_t> chunk_hashes, uint64_t bytes);

struct Section {
  std::string name;
  std::span<const std::byte> bytes;
};

// Checks header, table, padding and every hash of a mapped engine file, on all cores.
// Pages of the section "weights" do not stay resident.
// Throws Error(kInvalidModel), and kUnsupported for a newer major version.
std::vector<Section> read_sections(const MappedFile& file);

}  // namespace brayton
