#include "backends/cuda/jit/timing_cache.h"

#include <unistd.h>

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/format.h"
#include "core/log.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr int64_t kMostBytes = 16 << 20;

// "nvidia-h100-80gb-hbm3"
std::string slug(const std::string& name) {
  std::string result;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!result.empty() && result.back() != '-')
      result += '-';
  }
  while (!result.empty() && result.back() == '-') result.pop_back();
  return result;
}

}  // namespace

TimingCache::TimingCache(std::string folder, TimingIdentity identity)
    : folder_(std::move(folder)), identity_(std::move(identity)) {
  if (auto entries = read_file())
    entries_ = std::move(*entries);
  else
    changed_ = true;
}

std::string TimingCache::path() const {
  if (folder_.empty()) return {};
  return format("{}/timings-{}-{}-{:016x}.json", folder_, slug(identity_.device), identity_.driver,
                identity_.sources);
}

std::string TimingCache::image_name() const {
  return format("timings {} {} {:016x}", identity_.device, identity_.driver, identity_.sources);
}

std::optional<TimingCache::Entries> TimingCache::parse(const std::string& text) const {
  try {
    const Json json = parse_json(text, "timings");
    if (!json.is_object() || json.value("format", 0) != kFormat ||
        json.value("of", "") != image_name())
      return std::nullopt;
    Entries entries;
    for (const auto& [key, entry] : json.at("entries").items()) {
      if (!entry.at("tactic").is_string()) return std::nullopt;
      entries.emplace(key, entry);
    }
    return entries;
  } catch (const std::exception&) {  // faulty JSON, or fields of other types
    return std::nullopt;
  }
}

std::optional<TimingCache::Entries> TimingCache::read_file() const {
  const std::string from = path();
  if (from.empty()) return std::nullopt;
  std::error_code error;
  const auto bytes = fs::file_size(from, error);
  if (error || bytes > static_cast<uintmax_t>(kMostBytes)) return std::nullopt;
  std::ifstream file(from, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  auto entries = file ? parse(text) : std::nullopt;
  if (!entries) log_debug("[cuda] '{}' is damaged: it is measured and written anew", from);
  return entries;
}

std::optional<std::string> TimingCache::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  return found->second.at("tactic").get<std::string>();
}

void TimingCache::put(const std::string& key, const std::string& tactic, const Times& times) {
  Json entry{{"tactic", tactic}};
  Json& us = entry["us"] = Json::object();
  for (const auto& [name, microseconds] : times)
    if (std::isfinite(microseconds)) us[name] = std::round(microseconds * 100) / 100;
  const std::lock_guard lock(mutex_);
  entries_[key] = std::move(entry);
  changed_ = true;
}

std::string TimingCache::text() const {
  Json entries = Json::object();
  for (const auto& [key, entry] : entries_) entries[key] = entry;
  return Json{{"format", kFormat}, {"of", image_name()}, {"entries", std::move(entries)}}.dump(1) +
         "\n";
}

void TimingCache::save() {
  const std::lock_guard lock(mutex_);
  if (folder_.empty() || entries_.empty() || !changed_) return;
  // Another process may have measured other layers meanwhile.
  if (auto theirs = read_file()) entries_.merge(*theirs);
  std::error_code error;
  fs::create_directories(folder_, error);
  std::string temporary = folder_ + "/write-XXXXXX";
  const int fd = ::mkstemp(temporary.data());
  if (fd < 0) {
    log_warning("[cuda] times cannot be kept in '{}': {}", folder_, std::strerror(errno));
    return;
  }
  ::close(fd);
  {
    std::ofstream file(temporary, std::ios::binary);
    file << text();
    if (!file.flush()) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(temporary, path(), error);
  if (error) {
    log_warning("[cuda] times cannot be kept in '{}': {}", folder_, error.message());
    fs::remove(temporary, error);
    return;
  }
  changed_ = false;
}

std::vector<std::byte> TimingCache::image() const {
  const std::lock_guard lock(mutex_);
  if (entries_.empty()) return {};
  const std::string all = text();
  const auto bytes = std::as_bytes(std::span(all));
  return {bytes.begin(), bytes.end()};
}

void TimingCache::add_image(std::span<const std::byte> bytes) {
  auto entries = parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!entries || entries->empty()) return;
  const std::lock_guard lock(mutex_);
  const size_t before = entries_.size();
  entries_.merge(*entries);
  changed_ = changed_ || entries_.size() > before;
}

}  // namespace brayton::cuda
