# The headers cuda.h and nvrtc.h, of CUDA 12.8 or later; nothing of CUDA is linked. They lie in the
# toolkit, or in the folder that scripts/fetch-cuda.sh prints.
set(BRAYTON_CUDA AUTO CACHE STRING "Build the CUDA backend: ON, OFF, or AUTO, where the headers are found")
set_property(CACHE BRAYTON_CUDA PROPERTY STRINGS AUTO ON OFF)
set(BRAYTON_CUDA_ROOT "" CACHE PATH "Where include/cuda.h and include/nvrtc.h are")

# brayton_cuda_version(root variable): 13000 for CUDA 13.0; 0 where a header is missing.
function(brayton_cuda_version root variable)
  set(${variable} 0 PARENT_SCOPE)
  if(EXISTS ${root}/include/cuda.h AND EXISTS ${root}/include/nvrtc.h)
    file(STRINGS ${root}/include/cuda.h line REGEX "^#define CUDA_VERSION +[0-9]+" LIMIT_COUNT 1)
    if(line MATCHES "([0-9]+)$")
      set(${variable} ${CMAKE_MATCH_1} PARENT_SCOPE)
    endif()
  endif()
endfunction()

set(BRAYTON_HAS_CUDA OFF)
if(BRAYTON_CUDA)  # AUTO counts as true
  if(BRAYTON_CUDA_ROOT)
    set(places ${BRAYTON_CUDA_ROOT})
  else()
    set(places $ENV{CUDA_HOME} ${cache_home}/brayton/cuda-13.0 /usr/local/cuda)
  endif()
  foreach(place IN LISTS places)
    brayton_cuda_version(${place} version)
    if(NOT BRAYTON_HAS_CUDA AND version GREATER_EQUAL 12080)
      set(BRAYTON_HAS_CUDA ON)
      set(cuda_root ${place})
    endif()
  endforeach()
  if(NOT BRAYTON_HAS_CUDA AND (BRAYTON_CUDA_ROOT OR NOT BRAYTON_CUDA STREQUAL AUTO))
    message(FATAL_ERROR "cuda.h and nvrtc.h of CUDA 12.8 or later must be in an include/ folder of: ${places}. "
                        "scripts/fetch-cuda.sh fetches them; -DBRAYTON_CUDA=OFF builds without CUDA")
  endif()
endif()

set(BRAYTON_CUDA_FOUND ${BRAYTON_HAS_CUDA} CACHE INTERNAL "")  # scripts/quickstart.sh looks at it

if(BRAYTON_HAS_CUDA)
  message(STATUS "CUDA backend: headers of ${cuda_root}")
  add_library(brayton_cuda_headers INTERFACE)
  target_include_directories(brayton_cuda_headers SYSTEM INTERFACE ${cuda_root}/include)
  # For tests, which find NVRTC where the headers are.
  set(BRAYTON_NVRTC_FOLDER ${cuda_root}/lib:${cuda_root}/lib64)
else()
  message(STATUS "CUDA backend: off; scripts/fetch-cuda.sh fetches what it needs")
endif()
