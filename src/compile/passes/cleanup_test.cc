// merge_equal_nodes keeps one of equal nodes, eliminate_dead_code those that an output needs.
#include "compile/passes/passes.h"
#include "testing/pass_test.h"

namespace brayton {
namespace {

TEST(MergeEqualNodes, SharesARearrangedWeight) {
  testing::expect_pass(merge_equal_nodes,
                       R"(%0 = input {name="token_ids"} : i32[T]
                          %1 = weight {name="w"} : f32[4, 4]
                          %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                          %3 = transpose(%1) : f32[4, 4]
                          %4 = linear(%2, %3) : f32[T, 4]
                          %5 = transpose(%1) : f32[4, 4]
                          %6 = linear(%4, %5) : f32[T, 4]
                          return logits=%6)",
                       R"(%0 = input {name="token_ids"} : i32[T]
                          %1 = weight {name="w"} : f32[4, 4]
                          %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                          %3 = transpose(%1) : f32[4, 4]
                          %4 = linear(%2, %3) : f32[T, 4]
                          %5 = linear(%4, %3) : f32[T, 4]
                          return logits=%5)");
}

TEST(MergeEqualNodes, KeepsAttentionsAndOtherAttributes) {
  testing::expect_unchanged(merge_equal_nodes,
                            R"(%0 = input {name="token_ids"} : i32[T]
         %1 = weight {name="w"} : f32[4, 4]
         %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
         %3 = scale(%2) {factor=2.0} : f32[T, 4]
         %4 = scale(%2) {factor=3.0} : f32[T, 4]
         %5 = attention(%3, %4, %2) {head_dim=4, heads=1, kv_heads=1, layer=0, scale=0.5, softcap=0.0, window=0} : f32[T, 4]
         %6 = attention(%3, %4, %2) {head_dim=4, heads=1, kv_heads=1, layer=0, scale=0.5, softcap=0.0, window=0} : f32[T, 4]
         %7 = add(%5, %6) : f32[T, 4]
         return logits=%7)");
}

TEST(EliminateDeadCode, DropsWhatNoOutputNeeds) {
  testing::expect_pass(eliminate_dead_code,
                       R"(%0 = input {name="token_ids"} : i32[T]
                          %1 = weight {name="w"} : f32[4, 4]
                          %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                          %3 = activation(%2) {kind="silu"} : f32[T, 4]
                          %4 = weight {name="unused"} : f32[4, 4]
                          %5 = linear(%3, %4) : f32[T, 4]
                          return logits=%3)",
                       R"(%0 = input {name="token_ids"} : i32[T]
                          %1 = weight {name="w"} : f32[4, 4]
                          %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                          %3 = activation(%2) {kind="silu"} : f32[T, 4]
                          return logits=%3)");
}

}  // namespace
}  // namespace brayton
