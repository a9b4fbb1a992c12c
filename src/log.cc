// JSON lines with Elastic Common Schema names, one fwrite per event.
#include "once/log.h"

#include <nlohmann/json.hpp>

namespace once {
namespace {

const char* Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "unknown";
}

class JsonLogSink : public LogSink {
 public:
  JsonLogSink(LogLevel level, std::FILE* stream) : level_(level), stream_(stream) {}

  LogLevel level() const override { return level_; }

  void Log(const LogEvent& event) override {
    if (event.level < level_) return;
    nlohmann::ordered_json line = {
        {"@timestamp", absl::FormatTime(absl::RFC3339_full, event.time, absl::UTCTimeZone())},
        {"log.level", Name(event.level)},
        {"event.action", event.action},
        {"message", event.message}};
    for (const LogField& field : event.fields) line[std::string(field.name)] = field.value;
    // Ids and errors may hold any bytes; what is not UTF-8 is replaced, never thrown about.
    std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.push_back('\n');
    std::fwrite(text.data(), 1, text.size(), stream_);
    std::fflush(stream_);
  }

 private:
  const LogLevel level_;
  std::FILE* const stream_;
};

class DroppingLog : public LogSink {
 public:
  LogLevel level() const override { return LogLevel::kError; }
  void Log(const LogEvent&) override {}
};

}  // namespace

std::shared_ptr<LogSink> JsonLog(LogLevel level, std::FILE* stream) {
  return std::make_shared<JsonLogSink>(level, stream);
}

std::shared_ptr<LogSink> NoLog() { return std::make_shared<DroppingLog>(); }

}  // namespace once
