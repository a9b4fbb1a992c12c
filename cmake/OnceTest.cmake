# once_test(): a GoogleTest binary known to ctest. once_compile_fail_test(): a file that must not
# compile. once_example(): a program of examples/.
include_guard()
if(ONCE_BUILD_TESTS)
  enable_testing()
endif()
include(GoogleTest)

# Seconds one test of a label may take before ctest ends it.
set(ONCE_TIMEOUT_unit 30)
set(ONCE_TIMEOUT_adapter 60)
set(ONCE_TIMEOUT_simulation 180)
set(ONCE_TIMEOUT_integration 180)
set(ONCE_TIMEOUT_compile 60)
set(ONCE_TIMEOUT_example 60)
set(ONCE_TIMEOUT_install 300)
if(ONCE_SANITIZE)
  # Ten times slower, and a search takes as many executions as without.
  foreach(label unit adapter simulation)
    math(EXPR ONCE_TIMEOUT_${label} "5 * ${ONCE_TIMEOUT_${label}}")
  endforeach()
endif()

# What runs under the sanitizers: every test that needs no server.
add_custom_target(once_sanitized_tests)

# once_test(NAME <target> PREFIX <word> LABEL <label> SOURCES <file>... [LIBRARIES <library>...])
#
# ctest names the tests <word>.<Suite>.<Test>. A source with its own main() wins over GoogleTest's.
# Without sources there is no target. Tests of label `integration` run one at a time: they share
# one broker and some of them kill processes on a clock.
function(once_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;PREFIX;LABEL" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES)
    return()
  endif()
  once_program(NAME ${arg_NAME} SOURCES ${arg_SOURCES}
               LIBRARIES ${arg_LIBRARIES} GTest::gmock GTest::gtest_main)
  if(arg_LABEL MATCHES "^(unit|adapter|simulation)$")
    add_dependencies(once_sanitized_tests ${arg_NAME})
  endif()
  set(properties LABELS ${arg_LABEL} TIMEOUT ${ONCE_TIMEOUT_${arg_LABEL}})
  if(arg_LABEL STREQUAL "integration")
    list(APPEND properties RESOURCE_LOCK once_broker)
  endif()
  gtest_discover_tests(${arg_NAME} TEST_PREFIX "${arg_PREFIX}." DISCOVERY_MODE PRE_TEST
                       DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()

# once_compile_fail_test(<file> [<library>...])
#
# The file must fail to compile with each text of its `// EXPECT: ...` lines in the compiler's
# output, and must compile with -DONCE_COMPILE_CONTROL: so it fails for the stated reason only.
function(once_compile_fail_test file)
  cmake_path(GET file STEM stem)
  set(probe once_compile_${stem})
  # Never built: it exists to be asked for its include folders and definitions.
  add_library(${probe} OBJECT EXCLUDE_FROM_ALL "${file}")
  target_link_libraries(${probe} PRIVATE ${ARGN})
  target_compile_features(${probe} PRIVATE cxx_std_20)
  add_test(NAME compile.${stem}
    COMMAND "${CMAKE_COMMAND}" "-DCOMPILER=${CMAKE_CXX_COMPILER}" "-DFILE=${file}"
      "-DIMPLICIT=${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES}"
      "-DINCLUDES=$<TARGET_PROPERTY:${probe},INCLUDE_DIRECTORIES>"
      "-DDEFINITIONS=$<TARGET_PROPERTY:${probe},COMPILE_DEFINITIONS>"
      -P "${PROJECT_SOURCE_DIR}/cmake/ExpectCompileError.cmake")
  set_tests_properties(compile.${stem} PROPERTIES
    LABELS compile TIMEOUT ${ONCE_TIMEOUT_compile})
endfunction()

# once_example(<file>): the program example_<stem>, linked with every adapter that is built. It is
# left out, with a note, when it includes an adapter that is not.
function(once_example file)
  once_missing_adapters(missing "${file}")
  cmake_path(GET file STEM stem)
  if(missing)
    message(STATUS "example ${stem}: left out, without ${missing}")
    return()
  endif()
  once_program(NAME example_${stem} SOURCES "${file}" LIBRARIES once::core)
  once_link_adapters(example_${stem})
  set_target_properties(example_${stem} PROPERTIES
    OUTPUT_NAME ${stem} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
endfunction()

# once_run_example(<stem> [<argument>...]): ctest runs it in its own empty folder; it must exit 0.
function(once_run_example stem)
  if(NOT ONCE_BUILD_TESTS OR NOT TARGET example_${stem})
    return()
  endif()
  set(scratch "${CMAKE_CURRENT_BINARY_DIR}/run/${stem}")
  add_test(NAME example.${stem}
    COMMAND "${CMAKE_COMMAND}" "-DSCRATCH=${scratch}" -P
            "${PROJECT_SOURCE_DIR}/cmake/RunInEmptyFolder.cmake" --
            $<TARGET_FILE:example_${stem}> ${ARGN})
  set_tests_properties(example.${stem} PROPERTIES LABELS example TIMEOUT ${ONCE_TIMEOUT_example})
endfunction()
