// Verdict: what became of one message of a batch.
#pragma once

#include <cstdint>

namespace once {

enum class Verdict : std::uint8_t {
  kUnsettled,     // not reached, or put off: the message stays with its partition
  kProcessed,     // the handler's effect is in the transaction, or its claim is completed
  kDuplicate,     // an earlier copy has completed
  kDeadLettered,  // an outbox row is in the transaction, or the letter is published
  kConflict,      // the same, because of another fingerprint under its id
  kDiscarded,     // skipped on record, or a copy of a message that is dead or discarded
};

}  // namespace once
