# Settings for the SentencePiece sources inside the crate sentencepiece-sys, read by its CMake as
# the toolchain file: only the static library is needed, and no allocator but ours.
set(SPM_ENABLE_SHARED OFF CACHE BOOL "" FORCE)
set(SPM_ENABLE_TCMALLOC OFF CACHE BOOL "" FORCE)
