// The fusing passes turn their pattern into one op, and leave alone whatever differs from it.
#include "compile/passes/passes.h"
#include "testing/pass_test.h"

namespace brayton {
namespace {

using testing::expect_pass;
using testing::expect_unchanged;

// x = %2, positions = %3, inv_freq = %4.
const std::string kStart = R"(
  %0 = input {name="token_ids"} : i32[T]
  %1 = weight {name="table"} : f32[16, 8]
  %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 8]
)";
const std::string kRopeStart = kStart + R"(
  %3 = input {name="positions"} : i32[T]
  %4 = constant {values=[1.0, 0.1]} : f32[2]
)";
const std::string kAttention =
    "{head_dim=4, heads=2, kv_heads=1, layer=0, scale=0.5, softcap=0.0, window=0} : f32[T, 8]\n";
const std::string kRope = "{head_dim=4, interleaved=false, scale=1.0} : ";

TEST(FuseQkv, MakesOneLayerOfThree) {
  expect_pass(fuse_qkv,
              kRopeStart + R"(
                %5 = weight {name="q"} : bf16[8, 8]
                %6 = weight {name="k"} : bf16[4, 8]
                %7 = weight {name="v"} : bf16[4, 8]
                %8 = linear(%2, %5) : f32[T, 8]
                %9 = linear(%2, %6) : f32[T, 4]
                %10 = linear(%2, %7) : f32[T, 4]
                %11 = rope(%8, %3, %4) )" +
                  kRope + R"(f32[T, 8]
                %12 = rope(%9, %3, %4) )" +
                  kRope + R"(f32[T, 4]
                %13 = attention(%11, %12, %10) )" +
                  kAttention + "return logits=%13",
              kRopeStart + R"(
                %5 = weight {name="q"} : bf16[8, 8]
                %6 = weight {name="k"} : bf16[4, 8]
                %7 = weight {name="v"} : bf16[4, 8]
                %8 = concat(%5, %6, %7) {axis=0} : bf16[16, 8]
                %9 = linear(%2, %8) : f32[T, 16]
                %10 = slice(%9) {axis=1, begin=0, end=8} : f32[T, 8]
                %11 = rope(%10, %3, %4) )" +
                  kRope + R"(f32[T, 8]
                %12 = slice(%9) {axis=1, begin=8, end=12} : f32[T, 4]
                %13 = rope(%12, %3, %4) )" +
                  kRope + R"(f32[T, 4]
                %14 = slice(%9) {axis=1, begin=12, end=16} : f32[T, 4]
                %15 = attention(%11, %13, %14) )" +
                  kAttention + "return logits=%15");
}

TEST(FuseQkv, KeepsWeightsOfAnotherDtypeApart) {
  expect_pass(fuse_qkv,
              kStart + R"(
                %3 = weight {name="q"} : bf16[8, 8]
                %4 = weight {name="k"} : bf16[4, 8]
                %5 = weight {name="v"} : f16[4, 8]
                %6 = linear(%2, %3) : f32[T, 8]
                %7 = linear(%2, %4) : f32[T, 4]
                %8 = linear(%2, %5) : f32[T, 4]
                %9 = attention(%6, %7, %8) )" +
                  kAttention + "return logits=%9",
              kStart + R"(
                %3 = weight {name="q"} : bf16[8, 8]
                %4 = weight {name="k"} : bf16[4, 8]
                %5 = weight {name="v"} : f16[4, 8]
                %6 = linear(%2, %5) : f32[T, 4]
                %7 = concat(%3, %4) {axis=0} : bf16[12, 8]
                %8 = linear(%2, %7) : f32[T, 12]
                %9 = slice(%8) {axis=1, begin=0, end=8} : f32[T, 8]
                %10 = slice(%8) {axis=1, begin=8, end=12} : f32[T, 4]
                %11 = attention(%9, %10, %6) )" +
                  kAttention + "return logits=%11");
}

TEST(FuseQkv, FillsAbsentBiasesWithZeros) {
  expect_pass(fuse_qkv,
              kStart + R"(
                %3 = weight {name="q"} : bf16[8, 8]
                %4 = weight {name="q.b"} : bf16[8]
                %5 = weight {name="k"} : bf16[4, 8]
                %6 = weight {name="v"} : bf16[4, 8]
                %7 = weight {name="v.b"} : f32[4]
                %8 = linear(%2, %3, %4) : f32[T, 8]
                %9 = linear(%2, %5) : f32[T, 4]
                %10 = linear(%2, %6, %7) : f32[T, 4]
                %11 = attention(%8, %9, %10) )" +
                  kAttention + "return logits=%11",
              kStart + R"(
                %3 = weight {name="q"} : bf16[8, 8]
                %4 = weight {name="q.b"} : bf16[8]
                %5 = weight {name="k"} : bf16[4, 8]
                %6 = weight {name="v"} : bf16[4, 8]
                %7 = weight {name="v.b"} : f32[4]
                %8 = concat(%3, %5, %6) {axis=0} : bf16[16, 8]
                %9 = convert(%4) {dtype="f32"} : f32[8]
                %10 = constant {values=[0.0, 0.0, 0.0, 0.0]} : f32[4]
                %11 = concat(%9, %10, %7) {axis=0} : f32[16]
                %12 = linear(%2, %8, %11) : f32[T, 16]
                %13 = slice(%12) {axis=1, begin=0, end=8} : f32[T, 8]
                %14 = slice(%12) {axis=1, begin=8, end=12} : f32[T, 4]
                %15 = slice(%12) {axis=1, begin=12, end=16} : f32[T, 4]
                %16 = attention(%13, %14, %15) )" +
                  kAttention + "return logits=%16");
}

TEST(FuseQkv, LeavesResultsThatOthersRead) {
  expect_unchanged(fuse_qkv, kStart + R"(
                     %3 = weight {name="q"} : bf16[8, 8]
                     %4 = weight {name="k"} : bf16[4, 8]
                     %5 = linear(%2, %3) : f32[T, 8]
                     %6 = linear(%2, %4) : f32[T, 4]
                     %7 = attention(%5, %6, %6) )" +
                                 kAttention + R"(
                     %8 = add(%7, %5) : f32[T, 8]
                     return logits=%8)");
}

TEST(FuseGateUp, MakesOneLayerAndOneOp) {
  const std::string weights = kStart + R"(
    %3 = weight {name="gate"} : q8_0[12, 8]
    %4 = weight {name="up"} : q8_0[12, 8]
  )";
  // Either order of the product's factors.
  for (const char* factors : {"%6, %7", "%7, %6"})
    expect_pass(fuse_gate_up,
                weights + R"(
                  %5 = linear(%2, %3) : f32[T, 12]
                  %6 = activation(%5) {kind="gelu"} : f32[T, 12]
                  %7 = linear(%2, %4) : f32[T, 12]
                  %8 = mul()" +
                    factors + R"() : f32[T, 12]
                  return logits=%8)",
                weights + R"(
                  %5 = concat(%3, %4) {axis=0} : q8_0[24, 8]
                  %6 = linear(%2, %5) : f32[T, 24]
                  %7 = gated_activation(%6) {kind="gelu"} : f32[T, 12]
                  return logits=%7)");
}

TEST(FuseGateUp, LeavesOtherDtypesAndSharedGates) {
  expect_unchanged(fuse_gate_up, kStart + R"(
                     %3 = weight {name="gate"} : f16[12, 8]
                     %4 = weight {name="up"} : bf16[12, 8]
                     %5 = linear(%2, %3) : f32[T, 12]
                     %6 = activation(%5) {kind="silu"} : f32[T, 12]
                     %7 = linear(%2, %4) : f32[T, 12]
                     %8 = mul(%6, %7) : f32[T, 12]
                     return logits=%8)");
  expect_unchanged(fuse_gate_up, kStart + R"(
                     %3 = weight {name="gate"} : bf16[12, 8]
                     %4 = weight {name="up"} : bf16[12, 8]
                     %5 = linear(%2, %3) : f32[T, 12]
                     %6 = activation(%5) {kind="silu"} : f32[T, 12]
                     %7 = linear(%2, %4) : f32[T, 12]
                     %8 = mul(%6, %7) : f32[T, 12]
                     %9 = add(%8, %6) : f32[T, 12]
                     return logits=%9)");
}

TEST(FuseAddNorm, GivesTheNormAndTheSum) {
  expect_pass(fuse_add_norm, kStart + R"(
                %3 = weight {name="w"} : f32[8, 8]
                %4 = linear(%2, %3) : f32[T, 8]
                %5 = add(%2, %4) : f32[T, 8]
                %6 = weight {name="n"} : f32[8]
                %7 = rms_norm(%5, %6) {eps=1e-05} : f32[T, 8]
                %8 = add(%5, %7) : f32[T, 8]
                %9 = weight {name="b"} : f32[8]
                %10 = layer_norm(%8, %6, %9) {eps=1e-06} : f32[T, 8]
                return logits=%10)",
              kStart + R"(
                %3 = weight {name="w"} : f32[8, 8]
                %4 = linear(%2, %3) : f32[T, 8]
                %5 = weight {name="n"} : f32[8]
                %6 = weight {name="b"} : f32[8]
                %7, %8 = add_rms_norm(%4, %2, %5) {eps=1e-05} : f32[T, 8], f32[T, 8]
                %9, %10 = add_layer_norm(%7, %8, %5, %6) {eps=1e-06} : f32[T, 8], f32[T, 8]
                return logits=%9)");
}

TEST(FuseAddNorm, LeavesRowsAndSumsWithoutANorm) {
  expect_unchanged(fuse_add_norm, kStart + R"(
                     %3 = weight {name="row"} : f32[8]
                     %4 = add(%2, %3) : f32[T, 8]
                     %5 = rms_norm(%4, %3) {eps=1e-05} : f32[T, 8]
                     %6 = add(%5, %2) : f32[T, 8]
                     return logits=%6)");
}

}  // namespace
}  // namespace brayton
