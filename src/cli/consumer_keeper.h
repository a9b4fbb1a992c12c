// The ConsumerKeeper runs the demonstration's consumer process, kills it on demand, starts the next
// one at once, and finds out what each kill has hit.
// Thread-safety: none; see ChildProcess.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "src/cli/child_process.h"
#include "src/cli/demo_consumer.h"
#include "src/cli/progress_board.h"

namespace once::demo {

struct KillRecord {
  std::int64_t kills = 0;  // processes that SIGKILL ended, as waitpid says
  // Of those, in the middle of a batch: the consumer had booked effects that were not committed, so
  // the store does not have them. `undone_effects` of them in all.
  std::int64_t mid_batch = 0;
  std::int64_t undone_effects = 0;
  std::int64_t returns = 0;  // kills after which a next consumer has booked something …
  absl::Duration away;       // … and how long that took, in all
};

class ConsumerKeeper {
 public:
  // What the process writes to its outputs is appended to `log_path`. `board` must outlive this.
  ConsumerKeeper(DemoConsumerOptions options, std::string log_path, ProgressBoard& board)
      : options_(std::move(options)), log_path_(std::move(log_path)), board_(board) {}

  absl::Status Start();
  // To be called often. An error, with the end of its log, when it has ended by itself.
  absl::Status Watch();
  absl::Status KillAndRestart();
  // SIGTERM; an error unless it ends in order.
  absl::Status Stop();

  const KillRecord& record() const { return record_; }

 private:
  std::string LogTail() const;

  const DemoConsumerOptions options_;
  const std::string log_path_;
  ProgressBoard& board_;
  std::optional<ChildProcess> process_;
  KillRecord record_;
  std::optional<absl::Time> killed_at_;  // until the next consumer has booked something
  std::int64_t row_at_kill_ = 0;         // the newest committed one
};

}  // namespace once::demo
