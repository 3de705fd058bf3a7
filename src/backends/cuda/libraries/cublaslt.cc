#include "backends/cuda/libraries/cublaslt.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <tuple>
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
constexpr int kPreferenceWorkspace = 1;
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

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
  size_t (*version)();
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
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, DType>;  // T, N, K, stride of x
  std::map<Key, Product> products;

  Product make(const Key& key);
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
  load(f.version, "cublasLtGetVersion");
  load(f.product_create, "cublasLtMatmulDescCreate");
  load(f.product_destroy, "cublasLtMatmulDescDestroy");
  load(f.product_set, "cublasLtMatmulDescSetAttribute");
  load(f.layout_create, "cublasLtMatrixLayoutCreate");
  load(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  load(f.preference_create, "cublasLtMatmulPreferenceCreate");
  load(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  load(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  load(f.heuristics, "cublasLtMatmulAlgoGetHeuristic");
  load(f.multiply, "cublasLtMatmul");
  if (!complete || f.create(&state->handle) != kSuccess) return nullptr;
  return std::unique_ptr<CublasLt>(new CublasLt(std::move(state)));
}

CublasLt::CublasLt(std::unique_ptr<State> state) : state_(std::move(state)) {}

CublasLt::~CublasLt() {
  const Functions& f = state_->functions;
  for (const auto& [key, p] : state_->products) {
    f.product_destroy(p.product);
    for (Descriptor layout : {p.w, p.x, p.y}) f.layout_destroy(layout);
  }
  f.destroy(state_->handle);
}

int64_t CublasLt::version() const { return static_cast<int64_t>(state_->functions.version()); }

// Column-major, as cuBLAS sees memory: y^T [N, T] = w [K, N]^T x^T [K, T].
Product CublasLt::State::make(const Key& key) {
  const auto& [rows, n, k, stride, dtype] = key;
  const int type = dtype == DType::kBF16 ? kReal16BF : kReal16F;
  const Functions& f = functions;
  Product p;
  check(f.product_create(&p.product, kCompute32F, kReal32F), "cublasLtMatmulDescCreate");
  check(f.product_set(p.product, kMatmulTransA, &kOpT, sizeof kOpT),
        "cublasLtMatmulDescSetAttribute");
  const auto layout = [&](Descriptor* to, int64_t r, int64_t c, int64_t ld) {
    check(f.layout_create(to, type, static_cast<uint64_t>(r), static_cast<uint64_t>(c), ld),
          "cublasLtMatrixLayoutCreate");
  };
  layout(&p.w, k, n, k);
  layout(&p.x, k, rows, stride);
  layout(&p.y, n, rows, n);
  Descriptor preference = nullptr;
  check(f.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  f.preference_set(preference, kPreferenceWorkspace, &kWorkspaceBytes, sizeof kWorkspaceBytes);
  Heuristic best{};
  int found = 0;
  const Status status =
      f.heuristics(handle, p.product, p.w, p.x, p.y, p.y, preference, 1, &best, &found);
  f.preference_destroy(preference);
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0)
    throw_error(ErrorCode::kEnvironment, "[cublaslt] there is no algorithm for {} x {} x {} in {}",
                rows, n, k, dtype_name(dtype));
  p.algorithm = best.algorithm;
  p.workspace = best.workspace;
  return p;
}

void CublasLt::linear(CudaStream& stream, const LinearArgs& args) {
  const TensorView& w = packed_weight(args);
  const State::Key key{args.x.dim(0), w.dim(0), w.dim(1), args.x.strides[0], w.dtype};
  auto at = state_->products.find(key);
  if (at == state_->products.end()) at = state_->products.emplace(key, state_->make(key)).first;
  const Product& p = at->second;
  const float one = 1.0f, zero = 0.0f;
  check(state_->functions.multiply(state_->handle, p.product, &one, w.data, p.w, args.x.data, p.x,
                                   &zero, args.y.data, p.y, args.y.data, p.y, &p.algorithm,
                                   stream.workspace(p.workspace), p.workspace, stream.handle()),
        "cublasLtMatmul");
}

}  // namespace brayton::cuda
