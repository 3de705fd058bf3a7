#include "backends/cuda/libraries/cublaslt.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <type_traits>
#include <vector>

#include "backends/cuda/packed_linear.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

// The part of cublasLt.h that is used, since that header comes with 500 MB of library only.
// Numbers are those of cuBLAS 12 and 13, which keep them. Source: docs.nvidia.com/cuda/cublas.
using Handle = void*;
using Descriptor = void*;
using Status = int;
constexpr Status kSuccess = 0;
constexpr int kCompute32F = 68;
constexpr int kReal32F = 0, kReal16F = 2, kReal16BF = 14;
constexpr int kMatmulTransA = 3;  // attributes of a product
constexpr int kOpT = 1;
constexpr int kPreferenceWorkspace = 1, kPreferenceReduction = 3;
constexpr int kPreferenceAlignment = 5;  // this and the next three: of the four matrices, bytes
constexpr uint32_t kFloat32Reduction = 2;
constexpr uint32_t kRowAlignment = 16;  // what linear's callers look at
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr size_t kMostProducts = 4096;  // some KB of host memory each

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};

struct Functions {
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*product_create)(Descriptor*, int compute, int scale);
  Status (*product_destroy)(Descriptor);
  Status (*product_set)(Descriptor, int attribute, const void*, size_t);
  Status (*layout_create)(Descriptor*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  Status (*layout_destroy)(Descriptor);
  Status (*preference_create)(Descriptor*);
  Status (*preference_destroy)(Descriptor);
  Status (*preference_set)(Descriptor, int attribute, const void*, size_t);
  Status (*heuristics)(Handle, Descriptor, Descriptor, Descriptor, Descriptor, Descriptor,
                       Descriptor, int, Heuristic*, int*);
  Status (*check_algorithm)(Handle, Descriptor, Descriptor, Descriptor, Descriptor, Descriptor,
                            const Algorithm*, Heuristic*);
  Status (*multiply)(Handle, Descriptor, const void*, const void*, Descriptor, const void*,
                     Descriptor, const void*, const void*, Descriptor, void*, Descriptor,
                     const Algorithm*, void*, size_t, CUstream);
};

void check(Status status, const char* call) {
  if (status != kSuccess)
    throw_error(ErrorCode::kEnvironment, "[cublaslt] {} failed with status {}", call, status);
}

std::vector<std::string> candidates(const std::string& folders) {
  std::vector<std::string> paths;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
    for (size_t begin = 0; begin < folders.size();) {
      const size_t end = std::min(folders.find(':', begin), folders.size());
      if (end > begin) paths.push_back(folders.substr(begin, end - begin) + "/" + name);
      begin = end + 1;
    }
    paths.emplace_back(name);
  }
  return paths;
}

// Of a product: rows of x, N, K, elements between the rows of x and of y, type; and the rows of x
// that the algorithm is for: 0 for its own.
struct Key {
  int64_t rows, n, k, x_stride, y_stride, algorithm_rows;
  DType dtype;
  auto operator<=>(const Key&) const = default;
};

// A product of fixed shape, ready to launch.
struct Product {
  Descriptor product = nullptr, w = nullptr, x = nullptr, y = nullptr;
  Algorithm algorithm{};
  size_t workspace = 0;
};

}  // namespace

struct CublasLt::State {
  Functions functions{};
  Handle handle = nullptr;
  std::mutex mutex;  // of the maps
  std::map<Key, Product> products;
  std::map<Key, Algorithm> algorithms;  // by keys whose rows are those of the algorithm

  const Product& find(const Key& key);
  void describe(Product& p, const Key& key) const;
  std::optional<Heuristic> first_algorithm(const Product& p, bool reproducible) const;
  Product make(const Key& key);
  void destroy(const Product& p) const;
  void multiply(CudaStream& stream, const LinearArgs& args, const TensorView& w, int64_t rows);
};

std::unique_ptr<CublasLt> CublasLt::open(const std::string& folders) {
  void* library = nullptr;
  for (const std::string& path : candidates(folders))
    if ((library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))) break;
  if (!library) return nullptr;
  auto state = std::make_unique<State>();
  Functions& f = state->functions;
  bool complete = true;
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    complete = complete && function != nullptr;
  };
  load(f.create, "cublasLtCreate");
  load(f.destroy, "cublasLtDestroy");
  load(f.product_create, "cublasLtMatmulDescCreate");
  load(f.product_destroy, "cublasLtMatmulDescDestroy");
  load(f.product_set, "cublasLtMatmulDescSetAttribute");
  load(f.layout_create, "cublasLtMatrixLayoutCreate");
  load(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  load(f.preference_create, "cublasLtMatmulPreferenceCreate");
  load(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  load(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  load(f.heuristics, "cublasLtMatmulAlgoGetHeuristic");
  load(f.check_algorithm, "cublasLtMatmulAlgoCheck");
  load(f.multiply, "cublasLtMatmul");
  if (!complete || f.create(&state->handle) != kSuccess) return nullptr;
  return std::unique_ptr<CublasLt>(new CublasLt(std::move(state)));
}

CublasLt::CublasLt(std::unique_ptr<State> state) : state_(std::move(state)) {}

CublasLt::~CublasLt() {
  for (const auto& [key, product] : state_->products) state_->destroy(product);
  state_->functions.destroy(state_->handle);
}

void CublasLt::State::destroy(const Product& p) const {
  if (p.product) functions.product_destroy(p.product);
  for (Descriptor layout : {p.w, p.x, p.y})
    if (layout) functions.layout_destroy(layout);
}

// Column-major, as cuBLAS sees memory: y^T [N, T] = w [K, N]^T x^T [K, T].
void CublasLt::State::describe(Product& p, const Key& key) const {
  const int type = key.dtype == DType::kBF16 ? kReal16BF : kReal16F;
  const Functions& f = functions;
  check(f.product_create(&p.product, kCompute32F, kReal32F), "cublasLtMatmulDescCreate");
  check(f.product_set(p.product, kMatmulTransA, &kOpT, sizeof kOpT),
        "cublasLtMatmulDescSetAttribute");
  const auto layout = [&](Descriptor* to, int64_t r, int64_t c, int64_t ld) {
    check(f.layout_create(to, type, static_cast<uint64_t>(r), static_cast<uint64_t>(c), ld),
          "cublasLtMatrixLayoutCreate");
  };
  layout(&p.w, key.k, key.n, key.k);
  layout(&p.x, key.k, key.rows, key.x_stride);
  layout(&p.y, key.n, key.rows, key.y_stride);
}

std::optional<Heuristic> CublasLt::State::first_algorithm(const Product& p,
                                                          bool reproducible) const {
  const Functions& f = functions;
  Descriptor preference = nullptr;
  check(f.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  f.preference_set(preference, kPreferenceWorkspace, &kWorkspaceBytes, sizeof kWorkspaceBytes);
  for (int matrix = 0; matrix < 4; ++matrix)
    f.preference_set(preference, kPreferenceAlignment + matrix, &kRowAlignment,
                     sizeof kRowAlignment);
  if (reproducible)
    f.preference_set(preference, kPreferenceReduction, &kFloat32Reduction,
                     sizeof kFloat32Reduction);
  Heuristic best{};
  int found = 0;
  const Status status =
      f.heuristics(handle, p.product, p.w, p.x, p.y, p.y, preference, 1, &best, &found);
  f.preference_destroy(preference);
  // Not supported, it says where there is none.
  if (status != kSuccess || found == 0) return std::nullopt;
  return best;
}

Product CublasLt::State::make(const Key& key) {
  Product p;
  const auto fail = [&]() {
    destroy(p);
    throw_error(ErrorCode::kEnvironment, "[cublaslt] there is no algorithm for {} x {} x {} in {}",
                key.rows, key.n, key.k, dtype_name(key.dtype));
  };
  describe(p, key);
  if (key.algorithm_rows > 0) {
    Key whole = key;
    whole.rows = key.algorithm_rows;
    auto known = algorithms.find(whole);
    if (known == algorithms.end()) {
      Product representative;
      describe(representative, whole);
      const std::optional<Heuristic> best = first_algorithm(representative, true);
      destroy(representative);
      if (!best) fail();
      known = algorithms.emplace(whole, best->algorithm).first;
    }
    Heuristic checked{};
    const Status status =
        functions.check_algorithm(handle, p.product, p.w, p.x, p.y, p.y, &known->second, &checked);
    if (status == kSuccess && checked.state == kSuccess && checked.workspace <= kWorkspaceBytes) {
      p.algorithm = known->second;
      p.workspace = checked.workspace;
      return p;
    }
  }
  const std::optional<Heuristic> best = first_algorithm(p, key.algorithm_rows > 0);
  if (!best) fail();
  p.algorithm = best->algorithm;
  p.workspace = best->workspace;
  return p;
}

const Product& CublasLt::State::find(const Key& key) {
  const auto at = products.find(key);
  if (at != products.end()) return at->second;
  if (products.size() >= kMostProducts) {
    for (const auto& [old, product] : products) destroy(product);
    products.clear();
  }
  return products.emplace(key, make(key)).first->second;
}

void CublasLt::State::multiply(CudaStream& stream, const LinearArgs& args, const TensorView& w,
                               int64_t rows) {
  const std::lock_guard lock(mutex);
  const Product& p = find({.rows = args.x.dim(0),
                           .n = w.dim(0),
                           .k = w.dim(1),
                           .x_stride = args.x.strides[0],
                           .y_stride = args.y.strides[0],
                           .algorithm_rows = rows,
                           .dtype = w.dtype});
  const float one = 1.0f, zero = 0.0f;
  check(functions.multiply(handle, p.product, &one, w.data, p.w, args.x.data, p.x, &zero,
                           args.y.data, p.y, args.y.data, p.y, &p.algorithm,
                           stream.workspace(p.workspace), p.workspace, stream.handle()),
        "cublasLtMatmul");
}

void CublasLt::linear(CudaStream& stream, const LinearArgs& args) {
  state_->multiply(stream, args, packed_weight(args), 0);
}

void CublasLt::linear_as(CudaStream& stream, const LinearArgs& args, int64_t rows) {
  if (stream.planning()) {
    stream.workspace(kWorkspaceBytes);
    return;
  }
  state_->multiply(stream, args, packed_weight(args), rows);
}

}  // namespace brayton::cuda
