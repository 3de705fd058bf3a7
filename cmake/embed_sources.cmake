# Writes the kernels' sources into a C++ file:
#   cmake -DROOT=src/backends/cuda -DFILES=device/a.cuh|kernels/b.cuh -DOUTPUT=embedded.cc -P embed_sources.cmake
string(REPLACE "|" ";" files "${FILES}")
set(rows "")
foreach(path IN LISTS files)
  file(READ "${ROOT}/${path}" text)
  string(FIND "${text}" ")__cuh__\"" end)
  if(NOT end EQUAL -1)
    message(FATAL_ERROR "${path} holds the end of a raw string: )__cuh__\"")
  endif()
  string(APPEND rows "    {\"${path}\", R\"__cuh__(${text})__cuh__\"},\n")
endforeach()
file(WRITE "${OUTPUT}" "#include \"backends/cuda/jit/embedded_sources.h\"

namespace brayton::cuda {
namespace {

constexpr EmbeddedSource kSources[] = {
${rows}};

}  // namespace

std::span<const EmbeddedSource> embedded_sources() { return kSources; }

}  // namespace brayton::cuda
")
