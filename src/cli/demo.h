// The demonstration: orders with mistakes put in on purpose, a consumer that is killed in the
// middle of its transactions, and a comparison of what was sent with what came out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/cli/consumer_keeper.h"
#include "src/cli/demo_check.h"
#include "src/cli/orders.h"

namespace once::demo {

struct DemoOptions {
  std::string brokers;  // empty: librdkafka's mock cluster, inside this process
  std::int64_t messages = 100'000;
  std::int64_t kills = 5;
  std::string store;  // "sqlite:PATH", kept; empty: a scratch file, removed at the end
  std::uint64_t seed = 1;
  bool is_live = false;  // a progress line on standard error
};

// How a run went, besides what came out of it.
struct DemoRun {
  bool is_embedded = true;
  std::string brokers;
  std::string dead_letter_topic;
  std::string kept_store;  // its path; empty when it is removed
  std::int64_t kills_wanted = 0;
  KillRecord kills;
  absl::Duration elapsed;  // from the first message sent to the last one settled
  std::string guarantee;   // level, reasons and assumptions, as the consumer says it
};

struct DemoResult {
  DemoRun run;
  OrderPlan plan;
  Findings findings;
};

// kInvalidArgument, naming the flag and the way out.
absl::Status ValidateDemoOptions(const DemoOptions& options);

// kUnavailable: no broker answers. kCancelled: SIGINT or SIGTERM. The result may be imperfect:
// Findings says so.
absl::StatusOr<DemoResult> RunDemo(const DemoOptions& options);

}  // namespace once::demo
