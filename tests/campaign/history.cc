// Lines are put together by hand: there are millions of them, and ids of campaigns need no escape.
#include "tests/campaign/history.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::campaign {
namespace {

std::int64_t NowNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  constexpr std::int64_t kSecond = 1'000'000'000;
  return now.tv_sec * kSecond + now.tv_nsec;
}

}  // namespace

History::History(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)),
      process_(getpid()) {
  if (file_ < 0) throw std::runtime_error("the history " + path + " cannot be written");
}

History::~History() { close(file_); }

std::int64_t History::Invoke(int member, std::string_view call, const std::string& details) {
  return Write(member, "invoke", call, absl::StrCat(",\"d\":", details));
}

void History::End(int member, std::string_view call, std::int64_t invoke, std::string_view how,
                  const std::string& details) {
  std::string rest = absl::StrCat(",\"of\":", invoke);
  if (!details.empty()) absl::StrAppend(&rest, ",\"d\":", details);
  Write(member, how, call, rest);
}

std::int64_t History::Write(int member, std::string_view how, std::string_view call,
                            const std::string& rest) {
  const std::int64_t sequence = next_++;
  const std::string line = absl::StrCat(
      "{\"p\":", process_, ",\"s\":", sequence, ",\"t\":", NowNanoseconds(), ",\"m\":", member,
      ",\"e\":\"", ToAbsl(how), "\",\"c\":\"", ToAbsl(call), "\"", rest, "}\n");
  if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::runtime_error("the history cannot be written");
  }
  return sequence;
}

std::string_view EndOf(const absl::Status& status) {
  if (status.ok()) return "ok";
  return status.code() == absl::StatusCode::kUnknown ? "info" : "fail";
}

void ReadHistory(const std::vector<std::string>& files,
                 const std::function<void(const HistoryEvent&)>& see) {
  for (const std::string& path : files) {
    std::ifstream lines(path);
    HistoryEvent event;
    while (std::getline(lines, event.line)) {
      auto json = nlohmann::json::parse(event.line, nullptr, /*allow_exceptions=*/false);
      if (json.is_discarded()) continue;
      event.process = json.at("p");
      event.sequence = json.at("s");
      event.time = json.at("t");
      event.how = json.at("e");
      event.call = json.at("c");
      event.of = json.value("of", std::int64_t{0});
      event.details = json.contains("d") ? std::move(json.at("d")) : nlohmann::json();
      see(event);
    }
  }
}

}  // namespace once::campaign
