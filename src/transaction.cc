// The names of an id's states.
#include "once/transaction.h"

namespace once {

std::string_view ToString(IdState state) {
  switch (state) {
    case IdState::kAbsent:
      return "absent";
    case IdState::kCompleted:
      return "completed";
    case IdState::kRetrying:
      return "retrying";
    case IdState::kDead:
      return "dead";
    case IdState::kDiscarded:
      return "discarded";
    case IdState::kUncertain:
      return "uncertain";
    case IdState::kClaimed:
      return "claimed";
    case IdState::kDying:
      return "dying";
  }
  return "unknown";
}

}  // namespace once
