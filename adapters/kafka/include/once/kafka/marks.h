// kafka::OpenMarks reads what producers write beside their numbered messages, so that a lost tail
// is seen and what was given up is not taken for lost.
//
//   auto marks = once::kafka::OpenMarks({.brokers = "localhost:9092"});
//   … .loss = {.mode = LossMode::kReport, .marks = *std::move(marks)}
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "once/kafka/properties.h"
#include "once/log.h"
#include "once/mark_source.h"

namespace once::kafka {

struct MarkOptions {
  std::string brokers;  // host:port, several by commas; required
  Properties properties;
  std::shared_ptr<LogSink> log = JsonLog();
};

// kInvalidArgument, naming the field or property. Does not wait for the brokers. It joins no group
// and commits nothing, and creates no topic. One consumer each.
absl::StatusOr<std::shared_ptr<MarkSource>> OpenMarks(const MarkOptions& options);

}  // namespace once::kafka
