# What once::core, once::testing and the command need. An adapter's dependencies are found by its
# own once_adapter() call.
include_guard()

find_package(absl CONFIG REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(PkgConfig REQUIRED)
# Of these two only headers are used, and only by sources.
pkg_check_modules(ONCE_XXHASH REQUIRED IMPORTED_TARGET GLOBAL libxxhash)
find_package(nlohmann_json CONFIG REQUIRED)

# once::testing is also for users: it is built wherever its dependencies are.
if(ONCE_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
  find_package(Boost 1.74 CONFIG REQUIRED COMPONENTS context)
else()
  find_package(GTest CONFIG QUIET)
  find_package(Boost 1.74 CONFIG QUIET COMPONENTS context)
endif()

if(ONCE_BUILD_COMMAND)
  find_package(CLI11 CONFIG REQUIRED)
endif()
