// A process that commits transactions with messages in them, on several threads, while a relay in
// it publishes what is committed: what outbox-kill kills.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/campaign/campaign.h"

namespace once::campaign {

struct OutboxTask {
  std::string brokers;
  std::string topic;
  std::string book;      // OutboxBookOf
  std::string store;     // its path
  std::string answered;  // a file: one line "NAME" for each row whose commit was answered OK
  std::string log;
  std::int64_t life = 0;  // part of the names of its rows
  std::uint64_t seed = 1;
  int writers = 3;
  int keys = 200;
  std::int64_t rows_max = 0;  // then no more are written …
  bool drains = false;        // … and, once all are published, the process ends; else it waits
  std::int64_t round_rows_max = 4'000;
  // Now and then a writer holds its transaction open for so long; 0: never.
  int hold_ms = 0;
  int busy_ms = 5'000;
  bool is_wrong = false;  // the relay sends through ForgetfulClients
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(OutboxTask, brokers, topic, book, store, answered,
                                                log, life, seed, writers, keys, rows_max, drains,
                                                round_rows_max, hold_ms, busy_ms, is_wrong)

// So many rows of one life make a beat.
inline constexpr std::int64_t kRowsPerBeat = 50;
// A transaction has 1 to so many rows.
inline constexpr std::int64_t kRowsPerTransactionMax = 20;

// 0: everything is published; 1: it went wrong.
int PublishUntilKilled(const Json& task);

}  // namespace once::campaign
