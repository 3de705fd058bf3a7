# Designated initializers leave out fields on purpose.
add_compile_options(-Wall -Wextra -Wno-missing-field-initializers)
if(BRAYTON_WERROR)
  add_compile_options(-Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    add_compile_options(-Wno-error=restrict)  # wrong about "literal" + std::string: GCC bug 105651
  endif()
endif()
if(BRAYTON_SANITIZE)
  add_compile_options(-fsanitize=${BRAYTON_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${BRAYTON_SANITIZE})
else()
  add_link_options(-static-libstdc++ -static-libgcc)
endif()
