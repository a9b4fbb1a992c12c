# Install rules and the package config: find_package(once COMPONENTS sqlite) gives once::core and
# once::sqlite. Each library has its own export file, so that a missing adapter hurts nobody else.
include_guard()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(ONCE_CONFIG_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/once")

# once_install_library(<name>): called by once_library().
function(once_install_library name)
  if(NOT ONCE_INSTALL)
    return()
  endif()
  install(TARGETS once_${name} EXPORT once-${name}
          ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(EXPORT once-${name} NAMESPACE once:: FILE once-${name}-targets.cmake
          DESTINATION "${ONCE_CONFIG_DIR}")
endfunction()

# once_install_package(): called last; writes the config that finds the dependencies again.
function(once_install_package)
  if(NOT ONCE_INSTALL)
    return()
  endif()
  set(ONCE_CONFIG_ADAPTERS "")
  get_property(adapters GLOBAL PROPERTY ONCE_ADAPTERS)
  foreach(adapter IN LISTS adapters)
    get_target_property(packages once_${adapter} ONCE_PACKAGES)
    string(APPEND ONCE_CONFIG_ADAPTERS "set(once_packages_${adapter} \"${packages}\")\n")
  endforeach()
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/once-config.cmake.in"
    "${PROJECT_BINARY_DIR}/once-config.cmake" INSTALL_DESTINATION "${ONCE_CONFIG_DIR}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/once-config-version.cmake"
    COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/once-config.cmake"
                "${PROJECT_BINARY_DIR}/once-config-version.cmake"
          DESTINATION "${ONCE_CONFIG_DIR}")
endfunction()
