# Flags of everything below this project's top directory: language level, warnings, hardening,
# sanitizers, ccache. A parent project that adds once as a subdirectory keeps its own flags: there
# only the sanitizer and the language level apply.
include_guard()

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "once needs g++ 12 or newer, found ${CMAKE_CXX_COMPILER_VERSION}.")
endif()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type." FORCE)
  endif()
  find_program(ONCE_CCACHE ccache)
  mark_as_advanced(ONCE_CCACHE)
  if(ONCE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${ONCE_CCACHE}")
  endif()

  # -Wmissing-field-initializers is off: options are structs with designated initialisers, where
  # leaving a field out is the normal way to say "the default".
  add_compile_options(
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
    -Wextra-semi -Wcast-align -Wundef -Wvla -Wformat=2 -Wno-missing-field-initializers)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # -Wrestrict is wrong about std::string's operator+ in g++ 12 (GCC bug 105651).
    add_compile_options(-Wduplicated-cond -Wlogical-op -Wno-restrict)
  endif()
  # The user's choice wins; warnings are errors only while once is built for its own sake.
  if(NOT DEFINED CMAKE_COMPILE_WARNING_AS_ERROR)
    set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
  endif()

  add_compile_options(-fstack-protector-strong)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(LINKER:-z,relro,-z,now)
  if(NOT ONCE_SANITIZE)
    # Needs optimisation, and hides calls from the sanitizers.
    add_compile_options($<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
                        $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  endif()
endif()

if(ONCE_SANITIZE STREQUAL "address")
  set(once_sanitizer -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(ONCE_SANITIZE STREQUAL "thread")
  set(once_sanitizer -fsanitize=thread)
elseif(ONCE_SANITIZE STREQUAL "fuzz")
  # The counters of libFuzzer; the program that has its main() links it (tests/fuzz).
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "ONCE_SANITIZE=fuzz needs clang, found ${CMAKE_CXX_COMPILER_ID}.")
  endif()
  set(once_sanitizer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
elseif(ONCE_SANITIZE)
  message(FATAL_ERROR "ONCE_SANITIZE=${ONCE_SANITIZE}: use address, thread, fuzz or nothing.")
endif()
if(ONCE_SANITIZE)
  add_compile_options(${once_sanitizer} -fno-omit-frame-pointer)
  add_link_options(${once_sanitizer})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code defeats g++ 12's flow analysis.
    add_compile_options(-Wno-maybe-uninitialized -Wno-tsan)
  endif()
endif()
