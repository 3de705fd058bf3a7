#include "program/bind.h"

#include "core/check.h"

namespace brayton {
namespace {

// The operands of one instruction.
class Operands {
 public:
  Operands(const BindContext& context, const Instruction& instruction)
      : context_(context), instruction_(instruction) {}

  bool has(size_t i) const { return i < instruction_.inputs.size() && instruction_.inputs[i] >= 0; }
  Slot in(size_t i) const { return slot(input(i)); }
  Slot out(size_t i) const {
    if (i >= instruction_.outputs.size()) fail(i, "an output");
    return slot(instruction_.outputs[i]);
  }
  // A constant in float32; empty when absent.
  TensorView vector(size_t i) const {
    if (!has(i)) return {};
    const TensorView& vector = weight(i).vector;
    if (!vector) fail(i, "a constant vector");
    return vector;
  }
  TensorView table(size_t i) const {
    const TensorView& raw = weight(i).raw;
    if (!raw) fail(i, "a constant table");
    return raw;
  }
  const PackedWeight* packed(size_t i) const {
    const PackedWeight* packed = weight(i).packed.get();
    if (!packed) fail(i, "a constant matrix");
    return packed;
  }
  const ValueType& type(size_t i) const { return context_.plan.values.at(input(i)).type; }
  bool is_vector(size_t i) const { return type(i).rank() == 1 && type(i).is_constant(); }

 private:
  [[noreturn]] void fail(size_t i, const char* expected) const {
    throw_error(ErrorCode::kInvalidModel, "[plan] operand {} of '{}' must be {}", i,
                instruction_.op, expected);
  }
  PlanValueId input(size_t i) const {
    if (!has(i)) fail(i, "there");
    return instruction_.inputs[i];
  }
  const DeviceWeight& weight(size_t i) const {
    const auto kind = context_.plan.values.at(input(i)).kind;
    if (kind != PlanValue::Kind::kWeight && kind != PlanValue::Kind::kConstant &&
        kind != PlanValue::Kind::kLoaded)
      fail(i, "a constant");
    return context_.weights.at(input(i));
  }
  Slot slot(PlanValueId id) const {
    const Slot& slot = context_.slots.at(id);
    if (!slot.view) fail(0, "an activation or an input");
    return slot;
  }

  const BindContext& context_;
  const Instruction& instruction_;
};

// [T, heads * head_dim] -> [T, heads, head_dim], rows as far apart as before.
Slot split_heads(Slot slot, int64_t heads, int64_t head_dim) {
  TensorView& view = slot.view;
  if (view.rank() != 2 || view.dim(1) != heads * head_dim)
    throw_error(ErrorCode::kInvalidModel, "[plan] {} columns must be {} heads of {}",
                view.shape.str(), heads, head_dim);
  view.shape = Shape{view.dim(0), heads, head_dim};
  view.strides[1] = head_dim;
  view.strides[2] = 1;
  return slot;
}

Launch bind_embedding(const BindContext& c, const Instruction&, const Operands& o) {
  return [kernel = c.kernels.embedding, ids = o.in(0), table = o.table(1), y = o.out(0)](
             Stream& stream, const StepSizes& sizes) {
    kernel(stream, {ids.at(sizes), table, y.at(sizes)});
  };
}

Launch bind_linear(const BindContext& c, const Instruction& i, const Operands& o) {
  const Shape shape = o.type(1).shape();
  std::optional<ActivationKind> activation;  // set where plan_for_device() joined one
  if (i.attributes.has("activation"))
    activation = activation_from_name(i.attributes.get_string("activation"));
  const bool gated = activation && i.attributes.get_bool("gated");
  return [kernel = c.kernels.linear, x = o.in(0),
          w = TensorView(static_cast<void*>(nullptr), o.type(1).dtype, shape), packed = o.packed(1),
          bias = o.vector(2), y = o.out(0), activation,
          gated](Stream& stream, const StepSizes& sizes) {
    kernel(stream, {x.at(sizes), w, bias, y.at(sizes), packed, activation, gated});
  };
}

// rms_norm and add_rms_norm: the latter has a residual before the weights and a second output.
Launch bind_rms_norm(const BindContext& c, const Instruction& i, const Operands& o) {
  const bool add = i.op == "add_rms_norm";
  return [kernel = c.kernels.rms_norm, x = o.in(0), residual = add ? o.in(1) : Slot{},
          w = o.vector(add ? 2 : 1), sum = add ? o.out(1) : Slot{}, y = o.out(0), add,
          eps = static_cast<float>(i.attributes.get_double("eps"))](Stream& stream,
                                                                    const StepSizes& sizes) {
    RmsNormArgs args{.x = x.at(sizes), .w = w, .y = y.at(sizes), .eps = eps};
    if (add) {
      args.residual = residual.at(sizes);
      args.sum = sum.at(sizes);
    }
    kernel(stream, args);
  };
}

Launch bind_layer_norm(const BindContext& c, const Instruction& i, const Operands& o) {
  const bool add = i.op == "add_layer_norm";
  return [kernel = c.kernels.layer_norm, x = o.in(0), residual = add ? o.in(1) : Slot{},
          w = o.vector(add ? 2 : 1), b = o.vector(add ? 3 : 2), sum = add ? o.out(1) : Slot{},
          y = o.out(0), add, eps = static_cast<float>(i.attributes.get_double("eps"))](
             Stream& stream, const StepSizes& sizes) {
    LayerNormArgs args{.x = x.at(sizes), .w = w, .b = b, .y = y.at(sizes), .eps = eps};
    if (add) {
      args.residual = residual.at(sizes);
      args.sum = sum.at(sizes);
    }
    kernel(stream, args);
  };
}

Launch bind_rope(const BindContext& c, const Instruction& i, const Operands& o) {
  const int64_t head_dim = i.attributes.get_int("head_dim");
  const int64_t columns = o.type(0).dims.back().size;
  BRAYTON_CHECK(head_dim > 0 && columns % head_dim == 0);
  const int64_t heads = columns / head_dim;
  return [kernel = c.kernels.rope, x = split_heads(o.in(0), heads, head_dim), positions = o.in(1),
          inv_freq = o.vector(2), y = split_heads(o.out(0), heads, head_dim),
          interleaved = i.attributes.get_bool("interleaved"),
          scale = static_cast<float>(i.attributes.get_double("scale"))](Stream& stream,
                                                                        const StepSizes& sizes) {
    kernel(stream, {x.at(sizes), positions.at(sizes), inv_freq, y.at(sizes), interleaved, scale});
  };
}

const TensorView& cache_of(const BindContext& c, const Attributes& attributes) {
  const int64_t layer = attributes.get_int("layer");
  if (layer < 0 || layer >= static_cast<int64_t>(c.caches.size()))
    throw_error(ErrorCode::kInvalidModel, "[plan] attention layer must be in [0, {}), got {}",
                c.caches.size(), layer);
  return c.caches[layer];
}

Launch bind_append_kv(const BindContext& c, const Instruction& i, const Operands& o) {
  const Attributes& a = i.attributes;
  const int64_t head_dim = a.get_int("head_dim"), kv_heads = a.get_int("kv_heads");
  AppendKvArgs args;
  args.cache = cache_of(c, a);
  args.inv_freq = o.vector(4);
  args.interleaved = a.get_bool("interleaved");
  args.scale = static_cast<float>(a.get_double("scale"));
  const Slot positions = o.has(3) ? o.in(3) : Slot{c.arrays.positions, 'T'};
  return
      [kernel = c.kernels.append_kv, q = split_heads(o.in(0), a.get_int("heads"), head_dim),
       k = split_heads(o.in(1), kv_heads, head_dim), v = split_heads(o.in(2), kv_heads, head_dim),
       positions, arrays = &c.arrays, args](Stream& stream, const StepSizes& sizes) mutable {
        args.q = q.at(sizes);
        args.k = k.at(sizes);
        args.v = v.at(sizes);
        args.positions = positions.at(sizes);
        args.query_offsets = arrays->query_offsets;
        args.kv_lengths = arrays->kv_lengths;
        args.block_table = arrays->block_table;
        kernel(stream, args);
      };
}

Launch bind_attention(const BindContext& c, const Instruction& i, const Operands& o) {
  const Attributes& a = i.attributes;
  const int64_t heads = a.get_int("heads"), kv_heads = a.get_int("kv_heads");
  const int64_t head_dim = a.get_int("head_dim");
  const auto keys = [&](size_t operand) {  // none where append_kv has put them into the cache
    return o.has(operand) ? split_heads(o.in(operand), kv_heads, head_dim) : Slot{};
  };
  AttentionArgs args;
  args.cache = cache_of(c, a);
  args.slopes = o.vector(3);
  args.scale = static_cast<float>(a.get_double("scale"));
  args.window = a.get_int("window");
  args.softcap = static_cast<float>(a.get_double("softcap"));
  return [kernel = c.kernels.attention, q = split_heads(o.in(0), heads, head_dim), k = keys(1),
          v = keys(2), y = split_heads(o.out(0), heads, head_dim), arrays = &c.arrays,
          args](Stream& stream, const StepSizes& sizes) mutable {
    args.q = q.at(sizes);
    args.k = k.at(sizes);
    args.v = v.at(sizes);
    args.y = y.at(sizes);
    args.query_offsets = arrays->query_offsets;
    args.kv_lengths = arrays->kv_lengths;
    args.block_table = arrays->block_table;
    args.decodes = arrays->decodes;
    kernel(stream, args);
  };
}

Launch bind_activation(const BindContext& c, const Instruction& i, const Operands& o) {
  const ActivationKind kind = activation_from_name(i.attributes.get_string("kind"));
  if (i.op == "activation")
    return [kernel = c.kernels.activation, x = o.in(0), y = o.out(0), kind](
               Stream& stream, const StepSizes& sizes) {
      kernel(stream, {x.at(sizes), y.at(sizes), kind});
    };
  return [kernel = c.kernels.gated_activation, x = o.in(0), y = o.out(0), kind](
             Stream& stream, const StepSizes& sizes) {
    kernel(stream, {x.at(sizes), y.at(sizes), kind});
  };
}

Launch bind_binary(const BindContext& c, const Instruction& i, const Operands& o) {
  const BinaryKind kind = i.op == "add" ? BinaryKind::kAdd : BinaryKind::kMul;
  const Slot b = o.is_vector(1) ? Slot{o.vector(1)} : o.in(1);
  return [kernel = c.kernels.binary, a = o.in(0), b, y = o.out(0), kind](Stream& stream,
                                                                         const StepSizes& sizes) {
    kernel(stream, {a.at(sizes), b.at(sizes), y.at(sizes), kind});
  };
}

Launch bind_scale(const BindContext& c, const Instruction& i, const Operands& o) {
  return [kernel = c.kernels.scale, a = o.in(0), y = o.out(0),
          factor = static_cast<float>(i.attributes.get_double("factor"))](Stream& stream,
                                                                          const StepSizes& sizes) {
    kernel(stream, {a.at(sizes), y.at(sizes), factor});
  };
}

Launch bind_gather_rows(const BindContext& c, const Instruction&, const Operands& o) {
  return [kernel = c.kernels.gather_rows, x = o.in(0), rows = o.in(1), y = o.out(0)](
             Stream& stream, const StepSizes& sizes) {
    kernel(stream, {x.at(sizes), rows.at(sizes), y.at(sizes)});
  };
}

struct BindRow {
  const char* op;
  Launch (*bind)(const BindContext&, const Instruction&, const Operands&);
};

constexpr BindRow kRows[] = {
    {"embedding", bind_embedding},
    {"linear", bind_linear},
    {"rms_norm", bind_rms_norm},
    {"add_rms_norm", bind_rms_norm},
    {"layer_norm", bind_layer_norm},
    {"add_layer_norm", bind_layer_norm},
    {"rope", bind_rope},
    {"append_kv", bind_append_kv},
    {"attention", bind_attention},
    {"activation", bind_activation},
    {"gated_activation", bind_activation},
    {"add", bind_binary},
    {"mul", bind_binary},
    {"scale", bind_scale},
    {"gather_rows", bind_gather_rows},
};

}  // namespace

Launch bind(const BindContext& context, const Instruction& instruction) {
  for (const BindRow& row : kRows)
    if (instruction.op == row.op)
      return row.bind(context, instruction, Operands(context, instruction));
  throw_error(ErrorCode::kInvalidModel, "[plan] '{}' is no op that a step can run", instruction.op);
}

}  // namespace brayton
