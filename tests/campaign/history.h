// A History is what one process did at its seams: a file of JSON lines, each written with one
// write(2) to a file opened with O_APPEND, so that a killed process leaves whole lines. A call has
// a line before it ("invoke") and one after it: "ok"; "fail", it was not applied; "info", nobody
// knows. An invoke without an end is unknown: its process died in it.
//
//   {"p":4711,"s":12,"t":881234567,"m":0,"e":"invoke","c":"handle","d":{…}}
//   {"p":4711,"s":13,"t":881239567,"m":0,"e":"ok","c":"handle","of":12}
//
// p: process; s: number of the line in it; t: CLOCK_MONOTONIC in nanoseconds, the same clock for
// all processes of a machine; m: the member of the group; of: the invoke that ended.
// Thread-safety: safe for concurrent use.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace once::campaign {

class History {
 public:
  // Throws std::runtime_error when the file cannot be appended to.
  explicit History(const std::string& path);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // The number of the line, for End(). `details` is a JSON object.
  std::int64_t Invoke(int member, std::string_view call, const std::string& details);
  void End(int member, std::string_view call, std::int64_t invoke, std::string_view how,
           const std::string& details = {});

 private:
  std::int64_t Write(int member, std::string_view how, std::string_view call,
                     const std::string& rest);

  const int file_;
  const int process_;
  std::atomic<std::int64_t> next_ = 1;
};

// "ok", "info" for kUnknown, else "fail".
std::string_view EndOf(const absl::Status& status);

// One line, read back.
struct HistoryEvent {
  std::int64_t process = 0;
  std::int64_t sequence = 0;
  std::int64_t time = 0;
  std::string how;
  std::string call;
  std::int64_t of = 0;
  nlohmann::json details;  // null where the line has none
  std::string line;
};

// Calls `see` with every whole line of the files, file by file.
void ReadHistory(const std::vector<std::string>& files,
                 const std::function<void(const HistoryEvent&)>& see);

}  // namespace once::campaign
