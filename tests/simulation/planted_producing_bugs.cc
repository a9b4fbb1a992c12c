// Bugs of a program that sends with a producer or a spool: in the producer, in the spool, and in
// the log that an operator decides about.
#include <vector>

#include "tests/simulation/planted_bugs.h"

namespace once::testing {
const std::vector<PlantedBug>& PlantedProducingBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  constexpr Budget kTwo = {.faults = 2};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      // The producer.
      InEngine("failed-is-forgotten", "a message that failed is neither sent again nor told of",
               "producing", kOne, Check::kTold),
      InEngine("number-given-twice", "what is sent again gets another number", "producing", kOne,
               Check::kNumbers),
      InEngine("arrived-number-void", "a number is declared void whose message has arrived",
               "producing", kNone, Check::kNumbers),
      InEngine("bounds-are-ignored", "more messages are taken than there is room for",
               "producing-narrow", kNone, Check::kTold),
      InEngine("end-without-marks", "a producer is closed and does not say how far it has come",
               "producing", kNone, Check::kLosses),
      InEngine("void-without-word", "nobody is told of a number that was given up",
               "producing-refused", kNone, Check::kNumbers),
      InEngine("mark-passes-over-holes",
               "a mark tells of what was acknowledged, and of all before it", "producing-at-a-mark",
               kTwo, Check::kLosses),
      // The spool.
      InEngine("unwritten-is-spooled", "what the disk has not taken counts as spooled", "spooling",
               kOne, Check::kTold),
      InEngine("doubt-of-the-disk-is-forgotten",
               "what may be on the disk is told as not sent once another attempt fails",
               "spooling-without-space", kTwo, Check::kTold),
      InEngine("spool-takes-all", "a full spool goes on taking messages", "spooling-narrow", kNone,
               Check::kTold),
      InEngine("returned-is-overtaken",
               "what comes back from the brokers goes to the end of the line",
               "spooling-when-unreachable", kNone, Check::kOrder),
      InEngine("returned-is-forgotten", "a message that comes back from the brokers is dropped",
               "spooling-when-unreachable", kNone, Check::kOrder),
      // The operator's log.
      InEngine("given-up-is-tried-again", "a message that an operator gives up is tried again",
               "sending-given-up", kNone, Check::kPublished),
  };
  return *bugs;
}

}  // namespace once::testing
