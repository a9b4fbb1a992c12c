# Run by ctest: cmake -DONCE=<the command> -P <this>. A short demonstration with --json must exit
# with 0 and print exactly one JSON object, whose numbers agree with each other: on the embedded
# broker, and on a real one where ONCE_TEST_KAFKA names it. Bad input must be refused.

# require(<left> <right>): two expressions must have the same value.
function(require left right)
  math(EXPR left_value "${left}")
  math(EXPR right_value "${right}")
  if(NOT left_value EQUAL right_value)
    message(FATAL_ERROR "${left} = ${left_value}, and ${right} = ${right_value}.")
  endif()
endfunction()

# check_demo([<argument>...])
function(check_demo)
  execute_process(COMMAND "${ONCE}" demo --json --messages 20000 --kills 3 ${ARGN}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE code)
  message(STATUS "${output}${errors}")
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "once demo ${ARGN} ended with ${code}.")
  endif()
  set(names messages unique_ids effects lost duplicate_effects duplicates_suppressed retried
            dead_lettered conflicts kills guarantee messages_per_second)
  string(JSON count LENGTH "${output}")
  list(LENGTH names expected)
  if(NOT count EQUAL expected)
    message(FATAL_ERROR "The object has ${count} members, not ${expected}.")
  endif()
  foreach(name IN LISTS names)
    string(JSON ${name} GET "${output}" "${name}")
  endforeach()

  require("${messages}" "20000")
  require("${lost}" "0")
  require("${duplicate_effects}" "0")
  require("${kills}" "3")
  require("${duplicates_suppressed}" "1000")
  require("${dead_lettered} - ${conflicts}" "20")
  require("${conflicts}" "2")
  # Every order is booked or poison; every message is an order, a copy of one, or a conflict.
  require("${unique_ids}" "${effects} + ${dead_lettered} - ${conflicts}")
  require("${messages}" "${unique_ids} + ${duplicates_suppressed} + ${conflicts}")
  if(retried LESS 20 OR messages_per_second LESS_EQUAL 0)
    message(FATAL_ERROR "retried ${retried}, messages_per_second ${messages_per_second}")
  endif()
  if(NOT guarantee MATCHES "^effectively-once")
    message(FATAL_ERROR "The guarantee is ${guarantee}.")
  endif()
endfunction()

# check_refusal(<flag that the error names> <argument>...)
function(check_refusal flag)
  execute_process(COMMAND "${ONCE}" demo --json ${ARGN}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE code)
  string(JSON text GET "${output}" error message)
  if(NOT code EQUAL 2 OR NOT text MATCHES "${flag}")
    message(FATAL_ERROR "once demo ${ARGN} ended with ${code}: ${output}${errors}")
  endif()
endfunction()

check_refusal(--messages --messages 10)
check_refusal(--kills --kills many)
check_refusal(--store --store redis:6379)
check_refusal(--unknown --unknown)
check_demo()
if(DEFINED ENV{ONCE_TEST_KAFKA})
  check_demo(--brokers "$ENV{ONCE_TEST_KAFKA}")
endif()
