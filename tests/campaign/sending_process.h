// A process that sends numbered messages through a producer, with or without a spool, and writes
// down what it was told of each: what broker-down takes the brokers from.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/campaign/campaign.h"

namespace once::campaign {

struct SendingTask {
  std::string brokers;
  std::string topic;
  std::string mode;      // "direct": no spool; "write-ahead"; "when-unreachable"
  std::string spool;     // the path of its SQLite store
  std::string outcomes;  // a file: one line for each outcome (ToldOutcome)
  std::string log;
  std::int64_t life = 0;  // part of the names and keys of its messages
  int senders = 2;
  int messages_per_second = 1'000;  // all of them together
  int delivery_ms = 20'000;
  int unreachable_ms = 2'000;
  bool is_wrong = false;  // sends through ForgetfulClients
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(SendingTask, brokers, topic, mode, spool, outcomes,
                                                log, life, senders, messages_per_second,
                                                delivery_ms, unreachable_ms, is_wrong)

// The words of outcomes.
inline constexpr const char* kWordStored = "stored";
inline constexpr const char* kWordSpooled = "spooled";
inline constexpr const char* kWordUnknown = "unknown";
inline constexpr const char* kWordNotStored = "not-stored";

// So many messages of one life make a beat.
inline constexpr std::int64_t kMessagesPerBeat = 100;

// Sends until SIGTERM, and then waits until everything has its outcome and the spool is empty. 0:
// so it was; 1: it went wrong.
int SendUntilStopped(const Json& task);

}  // namespace once::campaign
