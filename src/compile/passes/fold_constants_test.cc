// Constant arithmetic is done by the pass, chains of rearrangements become one, idle ones go.
#include "compile/passes/passes.h"
#include "testing/pass_test.h"

namespace brayton {
namespace {

using testing::expect_pass;
using testing::expect_unchanged;

TEST(FoldConstants, EvaluatesArithmeticOnNumbers) {
  expect_pass(fold_constants,
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[8, 4]
                 %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                 %3 = constant {values=[1.0, 2.0]} : f32[2]
                 %4 = constant {values=[3.0, 4.0, 5.0]} : f32[3]
                 %5 = slice(%4) {axis=0, begin=1, end=3} : f32[2]
                 %6 = concat(%3, %5) {axis=0} : f32[4]
                 %7 = add_scalar(%6) {value=0.5} : f32[4]
                 %8 = rms_norm(%2, %7) {eps=1e-05} : f32[T, 4]
                 return logits=%8)",
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[8, 4]
                 %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                 %3 = constant {values=[1.5, 2.5, 4.5, 5.5]} : f32[4]
                 %4 = rms_norm(%2, %3) {eps=1e-05} : f32[T, 4]
                 return logits=%4)");
}

TEST(FoldConstants, JoinsRearrangementsOfWeights) {
  expect_pass(fold_constants,
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[6, 4]
                 %2 = reshape(%1) {shape=[2, 3, 4]} : f32[2, 3, 4]
                 %3 = reshape(%2) {shape=[4, 6]} : f32[4, 6]
                 %4 = transpose(%3) : f32[6, 4]
                 %5 = transpose(%4) : f32[4, 6]
                 %6 = add_scalar(%5) {value=1.0} : f32[4, 6]
                 %7 = add_scalar(%6) {value=0.25} : f32[4, 6]
                 %8 = slice(%7) {axis=0, begin=1, end=4} : f32[3, 6]
                 %9 = slice(%8) {axis=0, begin=1, end=2} : f32[1, 6]
                 %10 = embedding(%0, %9) {dtype="f32"} : f32[T, 6]
                 return logits=%10)",
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[6, 4]
                 %2 = reshape(%1) {shape=[4, 6]} : f32[4, 6]
                 %3 = add_scalar(%2) {value=1.25} : f32[4, 6]
                 %4 = slice(%3) {axis=0, begin=2, end=3} : f32[1, 6]
                 %5 = embedding(%0, %4) {dtype="f32"} : f32[T, 6]
                 return logits=%5)");
}

TEST(FoldConstants, DropsWhatDoesNothing) {
  expect_pass(fold_constants,
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[6, 4]
                 %2 = slice(%1) {axis=0, begin=0, end=6} : f32[6, 4]
                 %3 = concat(%2) {axis=0} : f32[6, 4]
                 %4 = reshape(%3) {shape=[6, 4]} : f32[6, 4]
                 %5 = add_scalar(%4) {value=0.0} : f32[6, 4]
                 %6 = embedding(%0, %5) {dtype="f32"} : f32[T, 4]
                 %7 = scale(%6) {factor=1.0} : f32[T, 4]
                 %8 = scale(%7) {factor=2.0} : f32[T, 4]
                 %9 = scale(%8) {factor=4.0} : f32[T, 4]
                 %10 = slice(%9) {axis=1, begin=0, end=4} : f32[T, 4]
                 return logits=%10)",
              R"(%0 = input {name="token_ids"} : i32[T]
                 %1 = weight {name="w"} : f32[6, 4]
                 %2 = embedding(%0, %1) {dtype="f32"} : f32[T, 4]
                 %3 = scale(%2) {factor=8.0} : f32[T, 4]
                 return logits=%3)");
}

TEST(FoldConstants, LeavesSlicesOfOtherAxes) {
  expect_unchanged(fold_constants,
                   R"(%0 = input {name="token_ids"} : i32[T]
                      %1 = weight {name="w"} : f32[6, 4]
                      %2 = slice(%1) {axis=0, begin=0, end=5} : f32[5, 4]
                      %3 = slice(%2) {axis=1, begin=0, end=2} : f32[5, 2]
                      %4 = embedding(%0, %3) {dtype="f32"} : f32[T, 2]
                      return logits=%4)");
}

}  // namespace
}  // namespace brayton
