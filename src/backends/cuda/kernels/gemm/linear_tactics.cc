#include "backends/cuda/kernels/gemm/linear_tactics.h"

#include <algorithm>
#include <iterator>

#include "backends/cuda/kernels/gemm/gemv.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/gemm/skinny.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/libraries/cublaslt.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kRowBuckets[] = {1,    2,    3,    4,    8,    16,   24,   32,   48,
                                   64,   96,   128,  192,  256,  384,  512,  768,  1024,
                                   1280, 1536, 1792, 2048, 2560, 3072, 4096, 6144, 8192};

// Below, launching takes longer than the work.
constexpr int64_t kLeastWeightBytes = int64_t{4} << 20;
constexpr int64_t kMostGemvRows = 4;
constexpr int64_t kMostSkinnyRows = 64;
constexpr int64_t kLeastGemmRows = 8;
constexpr int kGemmChoices = 4;

GemmShape gemm_shape(const LinearKey& key) { return {key.rows, key.n, key.k, key.gated}; }

bool gemm_hopper_takes(const LinearKey& key, const DeviceInfo& device) {
  return device.hopper && key.y_aligned && key.outputs() % 8 == 0;
}

bool library_takes(const LinearKey& key) {
  return !key.gated && !key.bias && !key.activation && key.y_aligned && key.n % 8 == 0;
}

LinearTactic model_tactic(const LinearKey& key, const DeviceInfo& device) {
  LinearTactic tactic{choose_linear({.dtype = key.dtype,
                                     .rows = key.rows,
                                     .outputs = key.outputs(),
                                     .columns = key.k,
                                     .gated = key.gated,
                                     .x_aligned = key.x_aligned,
                                     .y_aligned = key.y_aligned},
                                    device)};
  if (tactic.kernel == LinearKernel::kGemmHopper)
    tactic.gemm = choose_gemm(gemm_shape(key), device);
  return tactic;
}

}  // namespace

std::span<const int64_t> linear_row_buckets() { return kRowBuckets; }

int64_t linear_row_bucket(int64_t rows) {
  const auto* const found = std::lower_bound(std::begin(kRowBuckets), std::end(kRowBuckets), rows);
  return found == std::end(kRowBuckets) ? found[-1] : *found;
}

uint64_t LinearKey::hash() const {
  uint64_t flags = static_cast<uint64_t>(dtype);
  for (const uint64_t flag :
       {uint64_t{gated}, uint64_t{bias}, uint64_t{x_aligned}, uint64_t{y_aligned}})
    flags = flags << 1 | flag;
  flags = flags << 4 | (activation ? static_cast<uint64_t>(*activation) + 1 : 0);
  uint64_t hash = flags;
  for (const int64_t size : {n, k, rows}) {
    hash = (hash ^ static_cast<uint64_t>(size)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

std::string LinearKey::str() const {
  return format("{} {}x{}{}{}{}{} rows {}{}{}", dtype_name(dtype), n, k, gated ? " gated" : "",
                bias ? " bias" : "", activation ? " " : "",
                activation ? activation_name(*activation) : "", rows,
                x_aligned ? "" : ", x unaligned", y_aligned ? "" : ", y unaligned");
}

std::string LinearTactic::str() const {
  switch (kernel) {
    case LinearKernel::kGemv:
      return "gemv";
    case LinearKernel::kSkinny:
      return "skinny";
    case LinearKernel::kGemmHopper:
      return format("gemm_hopper {}x{} cluster {}x{} splits {} stages {} chunk {}", gemm.tile_m(),
                    gemm.tile_n, gemm.cluster_m, gemm.cluster_n, gemm.splits, gemm.stages,
                    gemm.chunk);
    case LinearKernel::kGemm:
      return "gemm_portable";
    case LinearKernel::kSimple:
      return "simple";
    case LinearKernel::kCublasLt:
      return "cublaslt";
  }
  return "";
}

LinearKey linear_key(const LinearArgs& args) {
  const TensorView& w = packed_weight(args);
  return {.dtype = w.dtype,
          .n = w.dim(0),
          .k = w.dim(1),
          .rows = linear_row_bucket(args.x.dim(0)),
          .gated = args.gated,
          .bias = static_cast<bool>(args.bias),
          .activation = args.activation,
          .x_aligned = rows_aligned(args.x),
          .y_aligned = rows_aligned(args.y) && rows_aligned(args.bias)};
}

std::vector<LinearTactic> linear_candidates(const LinearKey& key, const DeviceInfo& device,
                                            bool library) {
  std::vector<LinearTactic> found{model_tactic(key, device)};
  if (found[0].kernel == LinearKernel::kSimple || key.n * key.k * 2 < kLeastWeightBytes)
    return found;
  const auto add = [&](const LinearTactic& tactic) {
    if (std::ranges::find(found, tactic) == found.end()) found.push_back(tactic);
  };
  if (key.rows <= kMostGemvRows && choose_gemv({key.rows, key.outputs(), key.k, key.gated}, device))
    add({LinearKernel::kGemv});
  if (key.rows <= kMostSkinnyRows &&
      choose_skinny({key.rows, key.outputs(), key.k, key.gated}, device))
    add({LinearKernel::kSkinny});
  if (key.rows >= kLeastGemmRows) {
    if (gemm_hopper_takes(key, device))
      for (const GemmChoice& choice : gemm_candidates(gemm_shape(key), device, kGemmChoices))
        add({LinearKernel::kGemmHopper, choice});
    else
      add({LinearKernel::kGemm});
  }
  if (library && library_takes(key)) add({LinearKernel::kCublasLt});
  return found;
}

uint64_t linear_choices_hash(const DeviceInfo& device) {
  auto hash = static_cast<uint64_t>(device.multiprocessors);
  const auto mix = [&](int64_t value) {
    hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  };
  for (const bool gated : {false, true})
    for (const int64_t rows : {1, 4, 8, 16, 64, 256, 2048}) {
      const LinearKey key{.n = 8192, .k = 4096, .rows = rows, .gated = gated};
      if (const auto c = choose_gemv({rows, key.outputs(), key.k, gated}, device))
        for (const int64_t value : {c->rows, c->warps, c->piece, c->stages, c->prefetch,
                                    static_cast<int>(c->bulk), static_cast<int>(c->blocks)})
          mix(value);
      if (const auto c = choose_skinny({rows, key.outputs(), key.k, gated}, device))
        for (const int64_t value : {static_cast<int>(c->hopper), c->tokens, c->stages, c->x_stages,
                                    c->prefetch, c->cluster, c->blocks, c->tiles})
          mix(value);
      for (const LinearTactic& tactic : linear_candidates(key, device, false))
        for (const int64_t value :
             {static_cast<int>(tactic.kernel), tactic.gemm.consumers, tactic.gemm.tile_n,
              tactic.gemm.cluster_m, tactic.gemm.cluster_n, tactic.gemm.splits, tactic.gemm.stages,
              tactic.gemm.chunk})
          mix(value);
    }
  return hash;
}

void launch_linear(CudaStream& stream, const LinearArgs& args, const LinearTactic& tactic,
                   CublasLt* library) {
  switch (tactic.kernel) {
    case LinearKernel::kGemv:
      return linear_gemv(stream, args);
    case LinearKernel::kSkinny:
      return linear_skinny(stream, args);
    case LinearKernel::kGemmHopper:
      return linear_gemm_hopper_with(stream, args, tactic.gemm);
    case LinearKernel::kGemm:
      return linear_gemm(stream, args);
    case LinearKernel::kSimple:
      return linear_simple(stream, args);
    case LinearKernel::kCublasLt:
      BRAYTON_CHECK(library != nullptr);
      return library->linear_as(stream, args, linear_row_bucket(args.x.dim(0)));
  }
}

}  // namespace brayton::cuda
