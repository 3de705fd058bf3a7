// What is put is got back, whole or not at all: with damaged files, a full folder, one that cannot
// be written, and threads and processes that use the same folder at the same time.
#include "backends/cuda/jit/disk_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "core/format.h"
#include "core/log.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> value_of(unsigned seed, size_t size) {
  std::mt19937 random(seed);
  std::vector<std::byte> value(size);
  for (std::byte& byte : value) byte = static_cast<std::byte>(random());
  return value;
}

class DiskCacheTest : public testing::Test {
 protected:
  DiskCacheTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / format("disk_cache_{}_{}", ::getpid(), test->name());
  }
  ~DiskCacheTest() override {
    std::error_code ignored;
    fs::permissions(folder_, fs::perms::owner_all, ignored);
    fs::remove_all(folder_, ignored);
  }

  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_)) paths.push_back(entry.path());
    return paths;
  }
  int64_t bytes() const {
    int64_t total = 0;
    for (const fs::path& path : files()) total += static_cast<int64_t>(fs::file_size(path));
    return total;
  }

  fs::path folder_;
};

TEST_F(DiskCacheTest, KeepsAcrossInstances) {
  const auto value = value_of(1, 1000);
  {
    DiskCache cache(folder_ / "deep/er");
    EXPECT_FALSE(cache.get("a"));
    cache.put("a", value);
    cache.put("empty", {});
  }
  const DiskCache cache(folder_ / "deep/er");
  EXPECT_EQ(cache.get("a"), value);
  EXPECT_EQ(cache.get("empty"), std::vector<std::byte>());
  EXPECT_FALSE(cache.get("b"));
  cache.remove("a");
  EXPECT_FALSE(cache.get("a"));
}

TEST_F(DiskCacheTest, PutReplaces) {
  DiskCache cache(folder_);
  cache.put("a", value_of(1, 1000));
  cache.put("a", value_of(2, 10));
  EXPECT_EQ(cache.get("a"), value_of(2, 10));
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(DiskCacheTest, DamageIsFoundAndRemoved) {
  DiskCache cache(folder_);
  const auto value = value_of(1, 50);
  cache.put("key", value);
  const fs::path path = files().front();
  std::string sound(fs::file_size(path), '\0');
  std::ifstream(path, std::ios::binary)
      .read(sound.data(), static_cast<std::streamsize>(sound.size()));
  const auto rewrite = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  };
  for (size_t at = 0; at < sound.size(); ++at) {
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    rewrite(damaged);
    ASSERT_FALSE(cache.get("key")) << "byte " << at;
    ASSERT_FALSE(fs::exists(path)) << "byte " << at;
  }
  for (size_t size : {size_t{0}, size_t{7}, size_t{31}, sound.size() - 1}) {
    rewrite(sound.substr(0, size));
    ASSERT_FALSE(cache.get("key")) << size << " bytes";
    ASSERT_FALSE(fs::exists(path)) << size << " bytes";
  }
  rewrite(sound + "x");
  EXPECT_FALSE(cache.get("key"));
  cache.put("key", value);
  EXPECT_EQ(cache.get("key"), value);
}

TEST_F(DiskCacheTest, TheOldestGoWhenItIsFull) {
  DiskCache cache(folder_, 10'000);
  for (int i = 0; i < 9; ++i) {
    cache.put(format("key {}", i), value_of(1, 1000));
    // Far enough apart for any file system, all in the past.
    const auto age = std::chrono::minutes(100 - i);
    for (const fs::path& path : files())
      if (fs::file_time_type::clock::now() - fs::last_write_time(path) < std::chrono::minutes(1))
        fs::last_write_time(path, fs::file_time_type::clock::now() - age);
  }
  EXPECT_EQ(files().size(), 9u);
  EXPECT_TRUE(cache.get("key 0"));  // read lately: not the oldest any more
  cache.put("one", value_of(2, 1000));
  EXPECT_LE(bytes(), 10'000);
  EXPECT_TRUE(cache.get("key 0"));
  EXPECT_TRUE(cache.get("one"));
  EXPECT_FALSE(cache.get("key 1"));
  EXPECT_TRUE(cache.get("key 8"));

  for (int i = 0; i < 200; ++i) {
    cache.put(format("more {}", i), value_of(3, 400));
    ASSERT_LE(bytes(), 10'000) << i;
    ASSERT_TRUE(cache.get(format("more {}", i))) << i;
  }
  EXPECT_GE(bytes(), 7'000);
  cache.put("too large", value_of(4, 10'000));
  EXPECT_FALSE(cache.get("too large"));
}

TEST_F(DiskCacheTest, WhatDeadProcessesLeftIsRemoved) {
  fs::create_directories(folder_);
  const fs::path dead = folder_ / "write-abc123", alive = folder_ / "write-def456",
                 foreign = folder_ / "notes.txt";
  for (const fs::path& path : {dead, alive, foreign}) std::ofstream(path) << "x";
  for (const fs::path& path : {dead, foreign})
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(48));
  DiskCache(folder_).put("a", value_of(1, 10));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(DiskCacheTest, WithoutAFolderNothingIsKept) {
  DiskCache none("");
  none.put("a", value_of(1, 10));
  EXPECT_FALSE(none.get("a"));
  none.remove("a");
}

TEST_F(DiskCacheTest, AFolderThatCannotBeWrittenIsStillRead) {
  const auto value = value_of(1, 10);
  DiskCache(folder_).put("a", value);
  set_log_level(LogLevel::kOff);
  if (::geteuid() != 0) {  // root may write anywhere
    fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
    DiskCache cache(folder_);
    EXPECT_EQ(cache.get("a"), value);
    cache.put("b", value);
    EXPECT_FALSE(cache.get("b"));
    fs::permissions(folder_, fs::perms::owner_all);
  }
  // A file where the folder should be.
  DiskCache blocked(files().front());
  blocked.put("a", value);
  EXPECT_FALSE(blocked.get("a"));
  set_log_level(LogLevel::kInfo);
}

// Readers, writers and removals of few keys in a folder that is always full.
void hammer(const fs::path& folder, unsigned seed, int rounds, std::string& fault) {
  DiskCache cache(folder, 20'000);
  std::mt19937 random(seed);
  for (int i = 0; i < rounds && fault.empty(); ++i) {
    const unsigned key = random() % 16;
    const auto expected = value_of(key, 500 + 200 * key);
    const std::string name = format("key {}", key);
    switch (random() % 8) {
      case 0:
        cache.remove(name);
        break;
      case 1:
      case 2:
      case 3:
        cache.put(name, expected);
        break;
      default:
        if (const auto got = cache.get(name); got && *got != expected)
          fault = format("{} has wrong bytes", name);
    }
  }
}

TEST_F(DiskCacheTest, ThreadsMayShareAFolder) {
  std::vector<std::thread> threads;
  std::vector<std::string> faults(6);
  for (unsigned i = 0; i < faults.size(); ++i)
    threads.emplace_back([&, i] { hammer(folder_, i, 400, faults[i]); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& fault : faults) EXPECT_EQ(fault, "");
  for (const fs::path& path : files()) EXPECT_EQ(path.extension(), ".kernel") << path;
}

TEST_F(DiskCacheTest, ThreadsMayShareACache) {
  DiskCache cache(folder_, 20'000);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&cache, i] {
      for (unsigned j = 0; j < 200; ++j)
        cache.put(format("key {}", (i * 7 + j) % 40), value_of(j, 1000));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(bytes(), 20'000 + 4 * 1100);
}

TEST_F(DiskCacheTest, ProcessesMayShareAFolder) {
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::string fault;
      hammer(folder_, 100 + i, 400, fault);
      ::_exit(fault.empty() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  // Each looks at the folder now and then only.
  EXPECT_LE(bytes(), 20'000 + 4 * (20'000 / 16 + 4'000));
  for (const fs::path& path : files()) EXPECT_EQ(path.extension(), ".kernel") << path;
}

}  // namespace
}  // namespace brayton::cuda
