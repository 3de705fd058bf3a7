# Third-party code, from the distribution's packages: headers, or static libraries.
find_package(Threads REQUIRED)

# brayton_find_header(NAME header package): the header must be there.
function(brayton_find_header header package)
  string(MAKE_C_IDENTIFIER "BRAYTON_HEADER_${header}" variable)
  find_path(${variable} ${header})
  if(NOT ${variable})
    message(FATAL_ERROR "${header} is missing: apt-get install ${package} (or run scripts/install-dependencies.sh)")
  endif()
endfunction()

brayton_find_header(fmt/format.h libfmt-dev)
brayton_find_header(spdlog/spdlog.h libspdlog-dev)
brayton_find_header(nlohmann/json.hpp nlohmann-json3-dev)
brayton_find_header(CLI/CLI.hpp libcli11-dev)
brayton_find_header(xxhash.h libxxhash-dev)

if(BRAYTON_TESTS)
  find_package(GTest REQUIRED)
endif()
