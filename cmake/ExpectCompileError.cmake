# Run by ctest for once_compile_fail_test(), which passes COMPILER, FILE, INCLUDES, DEFINITIONS and
# IMPLICIT: the compiler's own include folders, which must keep their place in its search order.
set(command "${COMPILER}" -std=c++20 -fsyntax-only -fdiagnostics-color=never)
list(REMOVE_ITEM INCLUDES ${IMPLICIT})
foreach(folder IN LISTS INCLUDES)
  list(APPEND command -isystem "${folder}")
endforeach()
foreach(definition IN LISTS DEFINITIONS)
  list(APPEND command "-D${definition}")
endforeach()

file(STRINGS "${FILE}" expected REGEX "^// EXPECT: ")
if(NOT expected)
  message(FATAL_ERROR "${FILE} has no line `// EXPECT: <text of the compiler's message>`.")
endif()

execute_process(COMMAND ${command} -DONCE_COMPILE_CONTROL "${FILE}"
                RESULT_VARIABLE code ERROR_VARIABLE output OUTPUT_VARIABLE output)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "The control, with ONCE_COMPILE_CONTROL defined, does not compile:\n${output}")
endif()

execute_process(COMMAND ${command} "${FILE}"
                RESULT_VARIABLE code ERROR_VARIABLE output OUTPUT_VARIABLE output)
if(code EQUAL 0)
  message(FATAL_ERROR "${FILE} compiles, but must not.")
endif()
foreach(line IN LISTS expected)
  string(REGEX REPLACE "^// EXPECT: " "" text "${line}")
  string(FIND "${output}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "The compiler's output lacks the text `${text}`:\n${output}")
  endif()
endforeach()
