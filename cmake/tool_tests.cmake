# The checks of tools/: their own test, and those that need the build.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME tools_checks COMMAND ${Python3_EXECUTABLE} -B -m unittest checks_test performance_test
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/tools)
set_tests_properties(tools_checks PROPERTIES LABELS cpu)

# Sanitizers keep functions from being inlined; what they build runs only where it was built.
if(NOT BRAYTON_SANITIZE)
  foreach(level sse42 avx2 avx512)
    if(TARGET brayton_cpu_${level})
      add_test(NAME isa_symbols_${level}
               COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/tools/check_isa_symbols.py
                       --nm ${CMAKE_NM} --level ${level} $<TARGET_OBJECTS:brayton_cpu_${level}>
               COMMAND_EXPAND_LISTS)
      set_tests_properties(isa_symbols_${level} PROPERTIES LABELS cpu)
    endif()
  endforeach()
  if(TARGET brayton)
    add_test(NAME self_contained
             COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/tools/check_self_contained.py
                     --readelf ${CMAKE_READELF} $<TARGET_FILE:brayton>)
    set_tests_properties(self_contained PROPERTIES LABELS cpu)
  endif()
endif()
