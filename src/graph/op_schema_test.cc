// Every op accepts what its meaning allows and names the dimension, attribute or input that is
// wrong otherwise.
#include "graph/op_schema.h"

#include <gtest/gtest.h>

#include <set>

#include "graph/graph.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

// Types of the results of `op`, as text; inputs as text too, "_" for an absent one.
std::string infer(const std::string& op, const std::vector<std::string>& inputs,
                  const Attributes& attributes = {}) {
  std::vector<ValueType> types;
  for (const std::string& input : inputs)
    types.push_back(input == "_" ? ValueType() : parse_value_type(input));
  std::vector<const ValueType*> pointers;
  for (size_t i = 0; i < types.size(); ++i)
    pointers.push_back(inputs[i] == "_" ? nullptr : &types[i]);
  std::string text;
  for (const ValueType& type : op_schema(op).infer_types(pointers, attributes))
    text += text.empty() ? type.str() : format(" {}", type.str());
  return text;
}

std::string error(const std::string& op, const std::vector<std::string>& inputs,
                  const Attributes& attributes = {}) {
  return error_of([&] { infer(op, inputs, attributes); });
}

const Attributes kEps = {{"eps", 1e-5}};
const Attributes kSilu = {{"kind", std::string("silu")}};
const Attributes kRope = {{"head_dim", int64_t{64}}, {"interleaved", false}, {"scale", 1.0}};

Attributes attention_attributes(int64_t heads, int64_t kv_heads) {
  return {{"heads", heads},     {"kv_heads", kv_heads}, {"head_dim", int64_t{64}},
          {"scale", 0.125},     {"window", int64_t{0}}, {"softcap", 0.0},
          {"layer", int64_t{0}}};
}

Attributes dtype(const std::string& name) { return {{"dtype", name}}; }

TEST(OpSchema, NamesAreUniqueAndLeavesHaveNoInputs) {
  std::set<std::string> names;
  for (const OpSchema& schema : all_op_schemas()) {
    EXPECT_TRUE(names.insert(schema.name).second) << schema.name;
    EXPECT_EQ(schema.is_leaf(), schema.max_inputs == 0) << schema.name;
  }
  EXPECT_EQ(error_of([] { op_schema("lineer"); }), "[graph] there is no op called 'lineer'");
}

TEST(OpSchema, InfersActivations) {
  EXPECT_EQ(infer("embedding", {"i32[T]", "q4_1[256, 64]"}, dtype("bf16")), "bf16[T, 64]");
  EXPECT_EQ(infer("linear", {"bf16[T, 64]", "q8_0[96, 64]"}), "bf16[T, 96]");
  EXPECT_EQ(infer("linear", {"f32[R, 64]", "bf16[96, 64]", "f32[96]"}), "f32[R, 96]");
  EXPECT_EQ(infer("rms_norm", {"f16[T, 64]", "bf16[64]"}, kEps), "f16[T, 64]");
  EXPECT_EQ(infer("layer_norm", {"f32[T, 64]", "f32[64]", "_"}, kEps), "f32[T, 64]");
  EXPECT_EQ(infer("add_rms_norm", {"f32[T, 64]", "f32[T, 64]", "f32[64]"}, kEps),
            "f32[T, 64] f32[T, 64]");
  EXPECT_EQ(infer("add_layer_norm", {"f32[T, 64]", "f32[T, 64]", "f32[64]", "f32[64]"}, kEps),
            "f32[T, 64] f32[T, 64]");
  EXPECT_EQ(infer("rope", {"f32[T, 128]", "i32[T]", "f32[8]"}, kRope), "f32[T, 128]");
  EXPECT_EQ(
      infer("attention", {"f32[T, 256]", "f32[T, 128]", "f32[T, 128]"}, attention_attributes(4, 2)),
      "f32[T, 256]");
  EXPECT_EQ(infer("attention", {"f32[T, 128]", "f32[T, 128]", "f32[T, 128]", "f32[2]"},
                  attention_attributes(2, 2)),
            "f32[T, 128]");
  EXPECT_EQ(infer("activation", {"f32[T, 64]"}, kSilu), "f32[T, 64]");
  EXPECT_EQ(infer("gated_activation", {"f32[T, 64]"}, kSilu), "f32[T, 32]");
  EXPECT_EQ(infer("add", {"f32[T, 64]", "bf16[64]"}), "f32[T, 64]");
  EXPECT_EQ(infer("mul", {"f32[T, 64]", "f32[T, 64]"}), "f32[T, 64]");
  EXPECT_EQ(infer("scale", {"f32[T, 64]"}, {{"factor", int64_t{2}}}), "f32[T, 64]");
  EXPECT_EQ(infer("gather_rows", {"f32[T, 64]", "i32[R]"}), "f32[R, 64]");
}

TEST(OpSchema, InfersRearrangements) {
  const auto cut = [](int64_t axis, int64_t begin, int64_t end) {
    return Attributes{{"axis", axis}, {"begin", begin}, {"end", end}};
  };
  const Attributes rows = {{"axis", int64_t{0}}};
  EXPECT_EQ(infer("slice", {"f32[T, 64]"}, cut(1, 16, 48)), "f32[T, 32]");
  EXPECT_EQ(infer("slice", {"q4_1[8, 3, 64]"}, cut(1, 1, 2)), "q4_1[8, 1, 64]");
  EXPECT_EQ(infer("concat", {"q4_1[8, 64]", "q4_1[4, 64]"}, rows), "q4_1[12, 64]");
  EXPECT_EQ(infer("concat", {"f32[8]"}, rows), "f32[8]");
  EXPECT_EQ(infer("reshape", {"q4_1[24, 64]"}, {{"shape", std::vector<int64_t>{8, 3, 64}}}),
            "q4_1[8, 3, 64]");
  EXPECT_EQ(infer("reshape", {"f32[1]"}, {{"shape", std::vector<int64_t>{}}}), "f32[]");
  EXPECT_EQ(infer("transpose", {"bf16[8, 3]"}), "bf16[3, 8]");
  EXPECT_EQ(infer("add_scalar", {"bf16[8]"}, {{"value", 1.0}}), "bf16[8]");
  EXPECT_EQ(infer("convert", {"bf16[8]"}, dtype("f32")), "f32[8]");
}

TEST(OpSchema, NamesTheWrongDimension) {
  EXPECT_EQ(error("rms_norm", {"f32[T, 4096]", "f32[4095]"}, kEps),
            "[rms_norm] w.D must be 4096, got 4095");
  EXPECT_EQ(error("layer_norm", {"f32[T, 64]", "f32[64]", "f32[63]"}, kEps),
            "[layer_norm] b.D must be 64, got 63");
  EXPECT_EQ(error("linear", {"f32[T, 64]", "f32[96, 65]"}), "[linear] w.K must be 64, got 65");
  EXPECT_EQ(error("linear", {"f32[T, 64]", "f32[96, 64]", "f32[64]"}),
            "[linear] bias.N must be 96, got 64");
  EXPECT_EQ(error("linear", {"f32[T, 64]", "f32[96]"}), "[linear] w must be [N, K], got f32[96]");
  EXPECT_EQ(error("rope", {"f32[T, 100]", "i32[T]", "f32[8]"}, kRope),
            "[rope] x.H*head_dim must be a multiple of head_dim 64, got 100");
  EXPECT_EQ(error("rope", {"f32[T, 64]", "i32[T]", "f32[33]"}, kRope),
            "[rope] inv_freq.P must be at most head_dim / 2 = 32, got 33");
  EXPECT_EQ(
      error("attention", {"f32[T, 256]", "f32[T, 64]", "f32[T, 128]"}, attention_attributes(4, 2)),
      "[attention] k.kv_heads*head_dim must be 128, got 64");
  EXPECT_EQ(error("attention", {"f32[T, 64]", "f32[T, 64]", "f32[T, 64]", "f32[2]"},
                  attention_attributes(1, 1)),
            "[attention] slopes.heads must be 1, got 2");
  EXPECT_EQ(
      error("attention", {"f32[T, 192]", "f32[T, 128]", "f32[T, 128]"}, attention_attributes(3, 2)),
      "[attention] heads must be a multiple of kv_heads 2, got 3");
  EXPECT_EQ(error("add", {"f32[T, 64]", "f32[R, 64]"}), "[add] b.T must be T, got R");
  EXPECT_EQ(error("gated_activation", {"f32[T, 3]"}, kSilu),
            "[gated_activation] x.2F must be even, got 3");
  EXPECT_EQ(error("gather_rows", {"f32[T, 64]", "i32[4]"}),
            "[gather_rows] rows must be i32 of a run-time length, got i32[4]");
}

TEST(OpSchema, NamesTheWrongType) {
  EXPECT_EQ(error("activation", {"f32[2, 64]"}, kSilu),
            "[activation] x must be an activation like f32[T, 64], got f32[2, 64]");
  EXPECT_EQ(error("activation", {"i32[T, 64]"}, kSilu),
            "[activation] x must be of type f32, f16 or bf16, got i32[T, 64]");
  EXPECT_EQ(error("mul", {"f32[T, 64]", "bf16[T, 64]"}),
            "[mul] b must be f32[T, 64], got bf16[T, 64]");
  EXPECT_EQ(error("linear", {"f32[T, 64]", "i8[96, 64]"}),
            "[linear] w must be a weight of a float or block type, got i8[96, 64]");
  EXPECT_EQ(error("embedding", {"i32[T]", "f32[2, 64]"}, dtype("f8_e4m3")).substr(0, 50),
            "[embedding] y must be of type f32, f16 or bf16, go");
  EXPECT_EQ(error("transpose", {"q4_1[64, 64]"}),
            "[transpose] x must be of a plain type, got q4_1[64, 64]: rows of blocks cannot be "
            "cut");
  EXPECT_EQ(error("slice", {"q4_1[64, 64]"},
                  {{"axis", int64_t{1}}, {"begin", int64_t{0}}, {"end", int64_t{32}}}),
            "[slice] x must be of a plain type, got q4_1[64, 64]: rows of blocks cannot be cut");
  EXPECT_EQ(error("reshape", {"q4_1[4, 64]"}, {{"shape", std::vector<int64_t>{8, 32}}}),
            "[reshape] x must be of a plain type, got q4_1[4, 64]: rows of blocks cannot be cut");
  EXPECT_EQ(error("concat", {"f32[T, 64]"}, {{"axis", int64_t{0}}}),
            "[concat] x must be a weight: this op runs when a model is loaded; got f32[T, 64]");
}

TEST(OpSchema, NamesTheWrongAttributeOrInput) {
  EXPECT_EQ(error("rms_norm", {"f32[T, 64]", "f32[64]"}), "[rms_norm] attribute 'eps' is missing");
  EXPECT_EQ(error("rms_norm", {"f32[T, 64]", "f32[64]"}, kSilu),
            "[rms_norm] attribute 'eps' is missing");
  EXPECT_EQ(error("rms_norm", {"f32[T, 64]", "f32[64]"}, {{"eps", true}}),
            "[rms_norm] attribute 'eps' must be a number, got true or false");
  EXPECT_EQ(error("linear", {"f32[T, 64]", "f32[64, 64]"}, kEps),
            "[linear] has no attribute 'eps'");
  EXPECT_EQ(error("linear", {"f32[T, 64]"}), "[linear] must have 2 to 3 inputs, got 1");
  EXPECT_EQ(error("linear", {"_", "f32[64, 64]"}),
            "[linear] input 0 must be given, but is missing");
  EXPECT_EQ(error("activation", {"f32[T, 64]"}, {{"kind", std::string("gelu_new")}}),
            "[activation] kind must be 'gelu_tanh', got 'gelu_new'");
  EXPECT_EQ(error("slice", {"f32[T, 64]"},
                  {{"axis", int64_t{1}}, {"begin", int64_t{0}}, {"end", int64_t{65}}}),
            "[slice] end must be in [0, 64], got 65");
  EXPECT_EQ(error("slice", {"f32[T, 64]"},
                  {{"axis", int64_t{0}}, {"begin", int64_t{0}}, {"end", int64_t{1}}}),
            "[slice] axis of an activation must be the last, 1, got 0");
  EXPECT_EQ(error("concat", {"f32[2, 3]", "f32[2, 4]"}, {{"axis", int64_t{0}}}),
            "[concat] x1 must be f32[2, 3] but for dimension 0, got f32[2, 4]");
  EXPECT_EQ(error("reshape", {"f32[6]"}, {{"shape", std::vector<int64_t>{4}}}),
            "[reshape] shape must have the elements of f32[6], got f32[4]");
}

}  // namespace
}  // namespace brayton
