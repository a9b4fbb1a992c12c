# Run by ctest: cmake -DSTEP=<name> -DSCRATCH=<folder> … -P <this>; tests/install/CMakeLists.txt has
# the steps and their order. A step fails with a FATAL_ERROR that holds the output.
cmake_minimum_required(VERSION 3.25)
set(moved "${SCRATCH}/moved")
set(consumer "${SOURCE}/tests/install/consumer")

# run(<result of the output> <command>...): the command must succeed.
function(run result)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nended with ${code}:\n${output}")
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

# configure_consumer(<command> <folder> <argument>...): the command that configures it there.
function(configure_consumer command folder)
  file(REMOVE_RECURSE "${folder}")
  set(${command} "${CMAKE_COMMAND}" -S "${consumer}" -B "${folder}" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 ${ARGN} PARENT_SCOPE)
endfunction()

function(build_and_run folder)
  run(output "${CMAKE_COMMAND}" --build "${folder}" --parallel 2)
  run(output "${folder}/consumer" "${folder}")
  message(STATUS "${output}")
endfunction()

# link_by_pkg_config(<folder> <definitions> <argument of pkg-config>...): compiles and runs it.
function(link_by_pkg_config folder definitions)
  run(flags "${PKG_CONFIG}" --cflags --libs ${ARGN})
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(output "${COMPILER}" -std=c++20 ${definitions} "${consumer}/main.cc" -o "${folder}/consumer"
      ${flags})
  run(output "${folder}/consumer" "${folder}")
endfunction()

# expect_refusal(<prefix> <component> <text>...): find_package with it fails, and says each text.
function(expect_refusal prefix component)
  configure_consumer(command "${SCRATCH}/refused" "-DCMAKE_PREFIX_PATH=${prefix}"
    -DONCE_FROM=find_package "-DONCE_ADAPTERS=${component}")
  execute_process(COMMAND ${command} RESULT_VARIABLE code OUTPUT_VARIABLE output
                  ERROR_VARIABLE output)
  if(code EQUAL 0)
    message(FATAL_ERROR "find_package found once with the component ${component}:\n${output}")
  endif()
  string(REGEX REPLACE "[ \n\t]+" " " output "${output}")  # CMake wraps messages
  foreach(text IN LISTS ARGN)
    string(FIND "${output}" "${text}" position)
    if(position EQUAL -1)
      message(FATAL_ERROR "The refusal of ${component} does not say `${text}`:\n${output}")
    endif()
  endforeach()
endfunction()

if(STEP STREQUAL "prefix")
  file(REMOVE_RECURSE "${SCRATCH}")
  run(output "${CMAKE_COMMAND}" --install "${BUILD}" --config "${CONFIG}"
      --component once_development --prefix "${SCRATCH}/first")
  file(RENAME "${SCRATCH}/first" "${moved}")

elseif(STEP STREQUAL "names_no_path")
  file(GLOB_RECURSE files "${moved}/*.cmake" "${moved}/*.pc" "${moved}/*.h")
  list(LENGTH files count)
  if(count LESS 30)
    message(FATAL_ERROR "Only ${count} files were installed: ${files}")
  endif()
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    foreach(path IN ITEMS "${BUILD}" "${SOURCE}" "${SCRATCH}")
      string(FIND "${text}" "${path}" position)
      if(NOT position EQUAL -1)
        message(FATAL_ERROR "${file} names ${path}.")
      endif()
    endforeach()
  endforeach()

elseif(STEP STREQUAL "find_package")
  set(folder "${SCRATCH}/find_package")
  configure_consumer(command "${folder}" "-DCMAKE_PREFIX_PATH=${moved}" -DONCE_FROM=find_package
    "-DONCE_ADAPTERS=${ADAPTERS}" -DONCE_OPTIONAL=rabbitmq)
  run(output ${command})
  build_and_run("${folder}")

elseif(STEP STREQUAL "missing_component")
  list(JOIN KNOWN ", " known)
  expect_refusal("${moved}" rabbitmq
    "once has no component `rabbitmq`; there are core, testing, ${known}.")
  # A prefix into which once was installed without its Kafka adapter.
  set(without "${SCRATCH}/without")
  file(REMOVE_RECURSE "${without}")
  file(COPY "${moved}/${LIBDIR}/cmake" DESTINATION "${without}/${LIBDIR}"
       PATTERN "once-kafka-targets*" EXCLUDE)
  expect_refusal("${without}" kafka "once was built without its component `kafka`"
    "rdkafka>=2.0.2 (Debian: librdkafka-dev)")

elseif(STEP STREQUAL "pkg_config")
  set(folder "${SCRATCH}/pkg_config")
  file(REMOVE_RECURSE "${folder}")
  file(MAKE_DIRECTORY "${folder}")
  set(modules once-core)
  set(definitions "")
  foreach(adapter IN LISTS ADAPTERS)
    list(APPEND modules once-${adapter})
    string(TOUPPER "${adapter}" upper)
    list(APPEND definitions "-DONCE_HAS_${upper}=1")
  endforeach()
  set(ENV{PKG_CONFIG_PATH} "${moved}/${LIBDIR}/pkgconfig")
  link_by_pkg_config("${folder}" "${definitions}" ${modules})
  # All dependencies as archives, where their packages have them: those of librdkafka and libpq do
  # not.
  list(REMOVE_ITEM modules once-kafka once-postgres)
  list(REMOVE_ITEM definitions -DONCE_HAS_KAFKA=1 -DONCE_HAS_POSTGRES=1)
  link_by_pkg_config("${folder}" "${definitions}" --static ${modules})
  run(output "${PKG_CONFIG}" --static --libs once-testing)

elseif(STEP STREQUAL "add_subdirectory")
  set(folder "${SCRATCH}/add_subdirectory")
  configure_consumer(command "${folder}" -DONCE_FROM=add_subdirectory "-DONCE_SOURCE=${SOURCE}"
    "-DONCE_ADAPTERS=${ADAPTERS}")
  # ccache must not tell this folder from others.
  set(ENV{CCACHE_BASEDIR} "${SOURCE}")
  set(ENV{CCACHE_NOHASHDIR} 1)
  run(output ${command})
  build_and_run("${folder}")

elseif(STEP STREQUAL "testing_component")
  # The example is a project of its own: what a user's crash test is made of.
  set(folder "${SCRATCH}/testing_component")
  set(consumer "${SOURCE}/examples/07_testing_your_handler")
  configure_consumer(command "${folder}" "-DCMAKE_PREFIX_PATH=${moved}")
  run(output ${command})
  run(output "${CMAKE_COMMAND}" --build "${folder}" --parallel 2)
  run(output "${CMAKE_CTEST_COMMAND}" --test-dir "${folder}" --no-tests=error --output-on-failure)

elseif(STEP STREQUAL "clean")
  file(REMOVE_RECURSE "${SCRATCH}")

else()
  message(FATAL_ERROR "There is no step ${STEP}.")
endif()
