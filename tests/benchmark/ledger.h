// A Ledger is what one writes by hand to have effects happen once: ids and effects of a batch of
// messages in one synced transaction. ConsumeByHand is the loop around it.
// Thread-safety: none.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "tests/benchmark/contestants.h"
#include "tests/benchmark/effects_table.h"

namespace once::benchmark {

// Messages in one transaction.
inline constexpr std::size_t kHandWrittenBatch = 500;

class Ledger {
 public:
  virtual ~Ledger() = default;
  // How many of them were seen for the first time. Durable when it returns.
  virtual std::size_t Apply(std::span<rd_kafka_message_t* const> batch) = 0;
};

std::string_view IdHeaderOf(const rd_kafka_message_t& message);
// REQUIRES: the message outlives it.
Effect EffectOf(const rd_kafka_message_t& message, std::string_view id);

Finish ConsumeByHand(const Task& task, Ledger& ledger);

}  // namespace once::benchmark
