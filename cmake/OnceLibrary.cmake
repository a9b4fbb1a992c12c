# once_library(): a library of once. once_adapter(): a library with one foreign dependency that is
# built when that dependency is there. once_program(): an executable. once_link_adapters(): links
# everything that was built.
include_guard()

if(ONCE_SANITIZE STREQUAL "thread")
  add_library(once_tsan_libraries OBJECT "${PROJECT_SOURCE_DIR}/cmake/tsan_abseil.cc"
                                      "${PROJECT_SOURCE_DIR}/cmake/tsan_threads.cc")
  target_compile_features(once_tsan_libraries PRIVATE cxx_std_20)
  target_link_libraries(once_tsan_libraries PUBLIC absl::synchronization ${CMAKE_DL_LIBS})
endif()

# once_library(NAME <name> SOURCES <file>... HEADERS <file>... HEADER_ROOT <folder>
#              [PUBLIC <library>...] [PRIVATE <library>...] [BUILD_ONLY <library>...])
#
# Creates the target once_<name>, known to users as once::<name>. HEADERS are its public contract:
# each must compile on its own (target all_verify_interface_header_sets). Private headers are
# included by their path from the top folder: #include "src/lanes.h". A library whose headers alone
# are used, and only by sources, belongs in BUILD_ONLY: users of the installed library need not have
# it.
function(once_library)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;HEADER_ROOT"
                        "SOURCES;HEADERS;PUBLIC;PRIVATE;BUILD_ONLY")
  set(target once_${arg_NAME})
  if(NOT arg_SOURCES)
    # A library of templates only still needs one object to be a library.
    set(arg_SOURCES "${CMAKE_CURRENT_BINARY_DIR}/${target}_empty.cc")
    file(CONFIGURE OUTPUT "${arg_SOURCES}" CONTENT "// No sources yet.\n")
  endif()
  add_library(${target} ${arg_SOURCES})
  add_library(once::${arg_NAME} ALIAS ${target})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${arg_HEADER_ROOT}"
                                  FILES ${arg_HEADERS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  if(ONCE_TEST_HOOKS AND NOT arg_NAME STREQUAL "testing")
    target_compile_definitions(${target} PRIVATE ONCE_TEST_HOOKS)
  endif()
  foreach(library IN LISTS arg_BUILD_ONLY)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:${library}>)
  endforeach()
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${arg_NAME} VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL})
  once_install_library(NAME ${arg_NAME} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
endfunction()

# once_adapter(NAME <name> [PACKAGES <pkg-config module>...] [DEBIAN <package>...]
#              [LIBRARIES <library>...])
#
# Called by adapters/<name>/CMakeLists.txt. Sources are <folder>/*.cc, public headers
# <folder>/include/once/<name>/*.h, tests <folder>/tests/*.cc (one binary, once_<name>_test).
# PACKAGES take a floor: "sqlite3>=3.35". DEBIAN names what to install when one is missing.
# The user decides with ONCE_WITH_<NAME>: AUTO builds what is found, ON fails when it is missing.
function(once_adapter)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "PACKAGES;DEBIAN;LIBRARIES")
  string(TOUPPER "${arg_NAME}" upper)
  once_know_adapter(${arg_NAME} "${arg_PACKAGES}" "${arg_DEBIAN}")
  set(ONCE_WITH_${upper} AUTO CACHE STRING "The ${arg_NAME} adapter: AUTO, ON or OFF.")
  set_property(CACHE ONCE_WITH_${upper} PROPERTY STRINGS AUTO ON OFF)
  set(choice "${ONCE_WITH_${upper}}")
  if(choice STREQUAL "OFF")
    once_note_adapter(${arg_NAME} off "ONCE_WITH_${upper}=OFF")
    return()
  endif()

  set(libraries ${arg_LIBRARIES})
  set(found "")
  foreach(package IN LISTS arg_PACKAGES)
    string(REGEX REPLACE "[<>=].*" "" module "${package}")
    string(MAKE_C_IDENTIFIER "ONCE_${module}" prefix)
    pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL "${package}")
    if(NOT ${prefix}_FOUND)
      set(remedy "pkg-config does not find ${package}")
      if(arg_DEBIAN)
        list(JOIN arg_DEBIAN " " debian)
        string(APPEND remedy " (Debian: ${debian})")
      endif()
      if(choice STREQUAL "AUTO")
        once_note_adapter(${arg_NAME} missing "${remedy}")
        return()
      endif()
      message(FATAL_ERROR "ONCE_WITH_${upper}=${choice}, but ${remedy}. "
                          "Install it, or set ONCE_WITH_${upper}=OFF.")
    endif()
    set_property(TARGET PkgConfig::${prefix} PROPERTY ONCE_MODULE "${package}")
    list(APPEND libraries PkgConfig::${prefix})
    list(APPEND found "${module} ${${prefix}_VERSION}")
  endforeach()

  set(folder "${CMAKE_CURRENT_SOURCE_DIR}")
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cc")
  file(GLOB headers CONFIGURE_DEPENDS "${folder}/include/once/${arg_NAME}/*.h")
  if(NOT sources)
    once_note_adapter(${arg_NAME} empty "the folder has no sources")
    return()
  endif()
  once_library(NAME ${arg_NAME} SOURCES ${sources}
               HEADERS ${headers} HEADER_ROOT "${folder}/include"
               PUBLIC once::core ${libraries})
  set_property(GLOBAL APPEND PROPERTY ONCE_ADAPTERS ${arg_NAME})
  list(JOIN found ", " found)
  once_note_adapter(${arg_NAME} built "${found}")

  if(ONCE_BUILD_TESTS)
    file(GLOB tests CONFIGURE_DEPENDS "${folder}/tests/*.cc")
    once_test(NAME once_${arg_NAME}_test PREFIX ${arg_NAME} LABEL adapter
              SOURCES ${tests} LIBRARIES once::${arg_NAME} once::testing)
  endif()
endfunction()

# once_program(NAME <target> SOURCES <file>... [LIBRARIES <library>...] [OUTPUT <name in bin/>])
function(once_program)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;OUTPUT" "SOURCES;LIBRARIES")
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_include_directories(${arg_NAME} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${arg_NAME} PRIVATE
    ${arg_LIBRARIES} $<TARGET_NAME_IF_EXISTS:once_tsan_libraries>)
  if(arg_OUTPUT)
    set_target_properties(${arg_NAME} PROPERTIES
      OUTPUT_NAME ${arg_OUTPUT} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  endif()
endfunction()

# once_link_adapters(<target>): links every adapter that is built and defines ONCE_HAS_<NAME>=1
# for each, for programs that offer what there is.
function(once_link_adapters target)
  get_property(adapters GLOBAL PROPERTY ONCE_ADAPTERS)
  foreach(adapter IN LISTS adapters)
    string(TOUPPER "${adapter}" upper)
    target_link_libraries(${target} PRIVATE once::${adapter})
    target_compile_definitions(${target} PRIVATE ONCE_HAS_${upper}=1)
  endforeach()
endfunction()

# once_missing_adapters(<result> <source>): adapters that <source> includes and that are not built.
function(once_missing_adapters result source)
  file(STRINGS "${source}" includes REGEX "^#include <once/[a-z_0-9]+/")
  set(missing "")
  foreach(line IN LISTS includes)
    string(REGEX REPLACE "^#include <once/([a-z_0-9]+)/.*" "\\1" name "${line}")
    if(NOT name STREQUAL "memory" AND NOT TARGET once::${name})
      list(APPEND missing ${name})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES missing)
  set(${result} "${missing}" PARENT_SCOPE)
endfunction()
