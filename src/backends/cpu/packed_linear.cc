#include "backends/cpu/packed_linear.h"

#include "core/format.h"

namespace brayton::cpu {

PackedLinear::PackedLinear(LinearForm form, int64_t n, int64_t k, std::string tactic, Buffer data)
    : form(form),
      n(n),
      k(k),
      data(data.data()),
      buffer_(std::move(data)),
      tactic_(std::move(tactic)) {}

PackedLinear::~PackedLinear() = default;

int64_t PackedLinear::bytes() const { return static_cast<int64_t>(buffer_.size()); }

const std::string& PackedLinear::tactic() const { return tactic_; }

const PackedLinear& packed_linear(const LinearArgs& args) {
  const auto& packed = static_cast<const PackedLinear&>(*args.packed);
  if (args.x.dim(1) != packed.k || args.y.dim(1) != packed.n)
    throw_error(ErrorCode::kInvalidArgument, "[linear] packed w is [{}, {}], got x {} and y {}",
                packed.n, packed.k, args.x.shape.str(), args.y.shape.str());
  if (args.x.dtype != DType::kF32)
    throw_error(ErrorCode::kInvalidArgument, "[linear] x must be f32 on the CPU, got {}",
                dtype_name(args.x.dtype));
  return packed;
}

}  // namespace brayton::cpu
