# Install rules, for two of the three ways of use: find_package(once COMPONENTS sqlite) gives
# once::core and once::sqlite, `pkg-config --cflags --libs once-sqlite` the same as flags; the third,
# add_subdirectory, needs none of this. Each library has its own export file and its own .pc file, so that a missing adapter hurts
# nobody else. No installed file names the build tree or the prefix: the prefix may be moved.
#
# Install components: once_development (libraries, headers, CMake and pkg-config files) and
# once_command.
include_guard()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(ONCE_CONFIG_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/once")
set(ONCE_PKG_CONFIG_DIR "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# once_know_adapter(<name> <pkg-config modules> <Debian packages>): every adapter there is, built or
# not, so that the config can say what a missing one needs.
function(once_know_adapter name packages debian)
  set_property(GLOBAL APPEND PROPERTY ONCE_KNOWN_ADAPTERS ${name})
  list(JOIN debian " " debian)
  set_property(GLOBAL APPEND_STRING PROPERTY ONCE_CONFIG_ADAPTERS
    "set(once_packages_${name} \"${packages}\")\nset(once_debian_${name} \"${debian}\")\n")
endfunction()

# once_pkg_config_names(<requires> <libs> <library>...): CMake's names as pkg-config says them.
# `libs` gets what has no .pc file of its own.
function(once_pkg_config_names requires libs)
  set(names "")
  set(flags "")
  foreach(library IN LISTS ARGN)
    if(library MATCHES "^absl::(.+)$")
      list(APPEND names "absl_${CMAKE_MATCH_1}")
    elseif(library MATCHES "^once::(.+)$")
      list(APPEND names "once-${CMAKE_MATCH_1} = ${PROJECT_VERSION}")
    elseif(library MATCHES "^GTest::(.+)$")
      list(APPEND names "${CMAKE_MATCH_1}")
    elseif(library STREQUAL "OpenSSL::Crypto")
      list(APPEND names libcrypto)
    elseif(library STREQUAL "OpenSSL::SSL")
      list(APPEND names libssl)
    elseif(library MATCHES "^Boost::(.+)$")
      list(APPEND flags "-lboost_${CMAKE_MATCH_1}")
    elseif(library MATCHES "^PkgConfig::")
      get_target_property(module ${library} ONCE_MODULE)
      string(REGEX REPLACE "([<>=]+)" " \\1 " module "${module}")
      list(APPEND names "${module}")
    else()
      message(FATAL_ERROR "once_pkg_config_names: what does pkg-config call ${library}?")
    endif()
  endforeach()
  list(JOIN names ", " names)
  list(JOIN flags " " flags)
  set(${requires} "${names}" PARENT_SCOPE)
  set(${libs} "${flags}" PARENT_SCOPE)
endfunction()

# once_relative_folder(<result> <folder>): the way from the folder of the .pc files to another
# install folder. Where one of the two is absolute, there is no prefix to move.
function(once_relative_folder result folder)
  if(IS_ABSOLUTE "${folder}")
    set(${result} "${folder}" PARENT_SCOPE)
  elseif(IS_ABSOLUTE "${ONCE_PKG_CONFIG_DIR}")
    set(${result} "${CMAKE_INSTALL_PREFIX}/${folder}" PARENT_SCOPE)
  else()
    file(RELATIVE_PATH way "/prefix/${ONCE_PKG_CONFIG_DIR}" "/prefix/${folder}")
    string(REGEX REPLACE "/$" "" way "${way}")
    set(${result} "\${pcfiledir}/${way}" PARENT_SCOPE)
  endif()
endfunction()

# once_write_pc_file(<name> <public libraries> <private libraries>): an archive needs its private
# libraries at every link, not at static ones only. (--static asks for the private libraries of
# everything else too, whose packages are seldom there: librdkafka's .pc names five of them.)
function(once_write_pc_file name public private)
  get_target_property(type once_${name} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    list(APPEND public ${private})
    set(private "")
  endif()
  once_pkg_config_names(ONCE_PC_REQUIRES ONCE_PC_LIBS ${public})
  once_pkg_config_names(ONCE_PC_REQUIRES_PRIVATE ONCE_PC_LIBS_PRIVATE ${private})
  once_relative_folder(ONCE_PC_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
  once_relative_folder(ONCE_PC_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
  set(ONCE_PC_NAME "${name}")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/once.pc.in"
                 "${PROJECT_BINARY_DIR}/pkgconfig/once-${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/pkgconfig/once-${name}.pc"
          DESTINATION "${ONCE_PKG_CONFIG_DIR}" COMPONENT once_development)
endfunction()

# once_install_library(NAME <name> [PUBLIC <library>...] [PRIVATE <library>...]): called by
# once_library().
function(once_install_library)
  if(NOT ONCE_INSTALL)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "PUBLIC;PRIVATE")
  set(name ${arg_NAME})
  install(TARGETS once_${name} EXPORT once-${name}
          ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT once_development
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT once_development
          FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT once_development)
  install(EXPORT once-${name} NAMESPACE once:: FILE once-${name}-targets.cmake
          DESTINATION "${ONCE_CONFIG_DIR}" COMPONENT once_development)
  once_write_pc_file(${name} "${arg_PUBLIC}" "${arg_PRIVATE}")
endfunction()

# once_install_package(): called last; writes the config that finds the dependencies again.
function(once_install_package)
  if(NOT ONCE_INSTALL)
    return()
  endif()
  get_property(ONCE_CONFIG_ADAPTERS GLOBAL PROPERTY ONCE_CONFIG_ADAPTERS)
  get_property(ONCE_KNOWN_ADAPTERS GLOBAL PROPERTY ONCE_KNOWN_ADAPTERS)
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/once-config.cmake.in"
    "${PROJECT_BINARY_DIR}/once-config.cmake" INSTALL_DESTINATION "${ONCE_CONFIG_DIR}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/once-config-version.cmake"
    COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/once-config.cmake"
                "${PROJECT_BINARY_DIR}/once-config-version.cmake"
          DESTINATION "${ONCE_CONFIG_DIR}" COMPONENT once_development)
endfunction()
