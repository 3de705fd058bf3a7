// What measurements on a device found best, kept between processes: a JSON file beside the compiled
// kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace brayton::cuda {

// What the times depend on: those of anything else are never looked at.
struct TimingIdentity {
  std::string device;    // "NVIDIA H100 80GB HBM3"
  int driver = 0;        // 13000: CUDA 13.0
  uint64_t sources = 0;  // hash of the kernels and of what they are compiled for
};

// Results by what was measured, as text. Nothing here fails: a file that cannot be read or is
// damaged is empty and written anew, one that cannot be written stays as it is. May be used by any
// number of threads; several processes may share the folder.
class TimingCache {
 public:
  using Times = std::vector<std::pair<std::string, double>>;  // tactic and microseconds

  // Reads the file. `folder` empty: results live as long as this object.
  TimingCache(std::string folder, TimingIdentity identity);

  std::optional<std::string> find(const std::string& key) const;  // the tactic
  void put(const std::string& key, const std::string& tactic, const Times& times);
  // Writes what the file lacks, at once: readers see the old file or the new one.
  void save();

  // For engine files: a name that tells the identity, and all results. Results that are here
  // already win over those of add_image(); faulty bytes are ignored.
  std::string image_name() const;
  std::vector<std::byte> image() const;  // empty: there are no results
  void add_image(std::span<const std::byte> bytes);

  std::string path() const;  // empty without a folder

 private:
  using Entries = std::map<std::string, Json>;
  std::optional<Entries> parse(const std::string& text) const;
  std::optional<Entries> read_file() const;
  std::string text() const;

  const std::string folder_;
  const TimingIdentity identity_;
  mutable std::mutex mutex_;
  Entries entries_;
  bool changed_ = false;  // since the file was read or written
};

}  // namespace brayton::cuda
