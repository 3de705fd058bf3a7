// Counts the bytes of `new` that are alive, for tests that bound what a parser may allocate:
//
//   testing::AllocationMeter meter;
//   parse(file);
//   EXPECT_LE(meter.peak(), 64 * file.size() + (1 << 20));
//
// Replaces the global operator new: exactly one .cc of a test program includes this header.
#pragma once

#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace brayton::testing {

// Of the thread that made it; one at a time.
class AllocationMeter {
 public:
  AllocationMeter() : start_(live) { highest = live; }
  // The most bytes alive at once since the meter was made, beyond those alive then.
  size_t peak() const { return static_cast<size_t>(highest - start_); }

  static inline thread_local int64_t live = 0;
  static inline thread_local int64_t highest = 0;

 private:
  int64_t start_;
};

}  // namespace brayton::testing

void* operator new(std::size_t size) {
  void* block = std::malloc(size == 0 ? 1 : size);
  if (!block) throw std::bad_alloc();
  using Meter = brayton::testing::AllocationMeter;
  Meter::live += static_cast<int64_t>(malloc_usable_size(block));
  if (Meter::live > Meter::highest) Meter::highest = Meter::live;
  return block;
}

void operator delete(void* block) noexcept {
  if (!block) return;
  brayton::testing::AllocationMeter::live -= static_cast<int64_t>(malloc_usable_size(block));
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept { operator delete(block); }
