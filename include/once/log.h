// LogSink receives the engine's events: assignments, retries, dead letters, refusals, stops. Never
// a payload. The default writes one JSON object per line (Elastic Common Schema field names) to
// standard error. Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace once {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

struct LogField {
  std::string_view name;  // e.g. "once.id"
  std::string value;
};

struct LogEvent {
  LogLevel level = LogLevel::kInfo;
  absl::Time time;
  std::string_view action;  // event.action: "assigned", "retry_scheduled", "dead_lettered", …
  std::string message;      // a sentence for a person
  std::vector<LogField> fields;
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // Events below this level need not be built.
  virtual LogLevel level() const = 0;
  virtual void Log(const LogEvent& event) = 0;
};

// JSON lines to `stream`, which must outlive the sink. One write per event.
std::shared_ptr<LogSink> JsonLog(LogLevel level = LogLevel::kInfo, std::FILE* stream = stderr);

// Drops everything.
std::shared_ptr<LogSink> NoLog();

}  // namespace once
