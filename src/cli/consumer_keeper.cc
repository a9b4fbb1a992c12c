// Signals, waitpid, and the look into the store after a kill.
#include "src/cli/consumer_keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "src/cli/effects_table.h"

namespace once::demo {
namespace {

constexpr absl::Duration kStopTimeout = absl::Seconds(40);  // longer than Consumer's stop_deadline
constexpr std::size_t kLogTailBytes = 2'000;

}  // namespace

absl::Status ConsumerKeeper::Start() {
  const int log = open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return absl::InternalError(absl::StrCat(log_path_, ": ", std::strerror(errno)));
  absl::StatusOr<ChildProcess> process =
      ChildProcess::Start(ToArguments(options_), {.output = log, .shared = board_.descriptor()});
  close(log);
  if (!process.ok()) return process.status();
  process_ = *std::move(process);
  return absl::OkStatus();
}

absl::Status ConsumerKeeper::Watch() {
  if (killed_at_ && board_.cells().newest_row > row_at_kill_) {
    ++record_.returns;
    record_.away += absl::Now() - *killed_at_;
    killed_at_.reset();
  }
  const std::optional<ChildExit> exit = process_->TryWait();
  if (!exit) return absl::OkStatus();
  process_.reset();
  return absl::InternalError(absl::StrCat("the consumer ended by itself with ", ToString(*exit),
                                          "; the end of its log:\n", LogTail()));
}

absl::Status ConsumerKeeper::KillAndRestart() {
  process_->Signal(SIGKILL);
  const std::optional<ChildExit> exit = process_->WaitUntil(absl::Now() + kStopTimeout);
  if (!exit || exit->signal != SIGKILL) {
    return absl::InternalError(absl::StrCat("the consumer was killed and ended with ",
                                            exit ? ToString(*exit) : "nothing at all"));
  }
  killed_at_ = absl::Now();
  // Opened anew each time: a connection that stays open would spare the next consumer the recovery
  // of the write-ahead log.
  const absl::StatusOr<EffectReader> reader = EffectReader::Open(options_.store_path);
  if (!reader.ok()) return reader.status();
  const absl::StatusOr<std::int64_t> committed = reader->NewestRow();
  if (!committed.ok()) return committed.status();
  ++record_.kills;
  const std::int64_t undone = board_.cells().newest_row - *committed;
  if (undone > 0) {
    ++record_.mid_batch;
    record_.undone_effects += undone;
  }
  row_at_kill_ = *committed;
  board_.cells().newest_row = *committed;
  return Start();
}

absl::Status ConsumerKeeper::Stop() {
  process_->Signal(SIGTERM);
  const std::optional<ChildExit> exit = process_->WaitUntil(absl::Now() + kStopTimeout);
  if (!exit) {
    return absl::DeadlineExceededError(
        absl::StrCat("the consumer did not stop within ", absl::FormatDuration(kStopTimeout)));
  }
  process_.reset();
  if (exit->signal == 0 && exit->code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the consumer was asked to stop and ended with ",
                                          ToString(*exit), "; the end of its log:\n", LogTail()));
}

std::string ConsumerKeeper::LogTail() const {
  std::ifstream file(log_path_, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text.size() > kLogTailBytes) text.erase(0, text.size() - kLogTailBytes);
  return text.empty() ? "(nothing)" : text;
}

}  // namespace once::demo
