// What tests of a shared spool say to it. Thread-safety: as the spool's.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "once/redis/spool.h"

namespace once::redis::testing {

// A failure, and null, when it does not open.
inline std::shared_ptr<SpoolLog> MustOpenSpool(SpoolLogOptions options) {
  auto log = OpenSpoolLog(std::move(options));
  EXPECT_TRUE(log.ok()) << log.status();
  return log.ok() ? *std::move(log) : nullptr;
}

inline OutgoingMessage MessageOf(std::string value, std::string key = "k") {
  return {.topic = "orders", .key = std::move(key), .value = std::move(value)};
}

inline absl::Status AppendTo(SpoolLog& log, std::uint64_t number,
                             std::span<const OutgoingMessage> messages,
                             std::size_t messages_max = 1'000'000,
                             std::size_t bytes_max = std::size_t{1} << 40) {
  std::vector<const OutgoingMessage*> list;
  for (const OutgoingMessage& message : messages) list.push_back(&message);
  return log.Append(
      {.number = number, .messages = list, .messages_max = messages_max, .bytes_max = bytes_max});
}

inline absl::Status AppendTo(SpoolLog& log, std::uint64_t number, const std::string& value) {
  const OutgoingMessage message = MessageOf(value);
  return AppendTo(log, number, {&message, 1});
}

// Values of all that waits, in the order of their numbers.
inline std::vector<std::string> WaitingIn(SpoolLog& log) {
  const auto rows = log.outgoing().ListWaiting(0, 100'000);
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<std::string> values;
  if (!rows.ok()) return values;
  for (const OutgoingRow& row : *rows) values.push_back(row.message.value.value_or("(null)"));
  return values;
}

}  // namespace once::redis::testing
