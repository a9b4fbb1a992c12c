// BatchTransaction is one batch order while it is being settled: its messages with what is known of
// them, over as many passes as it takes. Private to SettleBatch: batch_transaction.cc has the
// passes, batch_invocation.cc the call of a batch handler, batch_decisions.cc what becomes of a
// message that fails. Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/log.h"
#include "once/outcome.h"
#include "src/candidate.h"
#include "src/settle_batch.h"
#include "src/staged_ids.h"

namespace once {

// How one pass over the batch ended.
enum class PassEnd : std::uint8_t {
  kCommitted,
  kNothing,
  kMismatch,
  kUnknown,
  kStoreTrouble,
  kDoomed,
  kFailedHandler,   // optimistic only: replay with savepoints
  kFailedMessages,  // of a batch handler, which has named them: replay without invoking them
  kRefusedCommit,   // the store refused this content: halve, down to the message that causes it
};

// A message for the next call of a batch handler.
struct Gathered {
  Candidate* candidate = nullptr;
  int attempt = 0;
};

class BatchTransaction {
 public:
  BatchTransaction(const SettleContext& context, WorkOrder& work, absl::Time deadline)
      : context_(context),
        work_(work),
        order_(*work.batch),
        deadline_(deadline),
        token_(&work.cancellation.Begin(absl::InfiniteFuture())),
        candidates_(context.buffers.candidates),
        staged_(context.buffers.staged) {
    Prepare();
  }
  ~BatchTransaction() { work_.cancellation.End(); }
  BatchTransaction(const BatchTransaction&) = delete;
  BatchTransaction& operator=(const BatchTransaction&) = delete;

  std::size_t size() const { return candidates_.size(); }

  // What must be durable before a handler is invoked; kPending when the batch may run.
  BatchEnd Mark();

  // One transaction over the first `count` messages. REQUIRES: count <= size().
  PassEnd Run(std::size_t count, bool is_careful);

  // Lets the failure of a commit count as the failed attempt of the first message.
  void ChargeFirst(const absl::Status& error) {
    candidates_.front().failed = Outcome(OutcomeKind::kRetry, error);
  }

  // No new message is begun after `deadline`, from now on.
  void Restart(absl::Time deadline) { deadline_ = deadline; }

  const absl::Status& error() const { return error_; }

 private:
  void Prepare();
  void Print(Candidate& candidate);
  absl::Status Lookup(StoreTransaction& transaction, std::size_t count, bool is_careful);
  PassEnd RunMessages(StoreTransaction& transaction, std::size_t count, bool is_careful);
  // False when the pass cannot go on: `end` says why.
  bool RunMessage(StoreTransaction& transaction, std::size_t index, bool is_careful, PassEnd& end);
  bool Invoke(StoreTransaction& transaction, Candidate& candidate, const IdRecord& record,
              bool is_careful, PassEnd& end);
  // batch_invocation.cc: what a batch handler gets in one call.
  void StageCompleted(const Candidate& candidate, int attempt);
  void Gather(Candidate& candidate, const IdRecord& record);
  bool InvokeTogether(StoreTransaction& transaction, PassEnd& end);
  BatchOutcome CallTogether(StoreTransaction& transaction);
  PassEnd JudgeTogether(const BatchOutcome& outcome, const absl::Status& open);
  void RememberFailure(Candidate& candidate, Outcome outcome);
  void DecideFailure(Candidate& candidate, const IdRecord& record, const Outcome& outcome);
  void Discard(Candidate& candidate, IdRecord record, std::string reason);
  void BuryExhausted(Candidate& candidate, const IdRecord& record);
  void LeaveUncounted(const Candidate& candidate, const IdRecord& record);
  bool DeadLetter(Candidate& candidate, const IdRecord& record, Disposition disposition,
                  const absl::Status& error);
  PassEnd Finish(StoreTransaction& transaction);
  // batch_numbers.cc: what the numbers of messages say.
  absl::Status LoadNumbers(StoreTransaction& transaction);
  bool IsIdNeeded(Candidate& candidate, bool is_careful) const;
  bool IsOfAnother(const Candidate& candidate, const IdRecord& record) const;
  bool IsSettledByNumber(const Candidate& candidate) const;
  void SettleNumber(const Candidate& candidate, bool was_absent);
  absl::Status StageNumbers(StoreTransaction& transaction,
                            const std::vector<PositionUpdate>& updates);
  void AdoptNumbers(const std::vector<PositionUpdate>& updates);
  void WarnOfDying(const Candidate& candidate);
  PassEnd EndWith(PassEnd end, const absl::Status& error);
  void Note(LogLevel level, std::string_view action, std::string message,
            const Candidate& candidate);

  const SettleContext& context_;
  WorkOrder& work_;
  BatchOrder& order_;
  absl::Time deadline_;
  const std::stop_token* token_;  // of the invocation at hand
  std::vector<Candidate>& candidates_;
  std::size_t decided_end_ = 0;  // one past the last candidate with a failed outcome to decide upon

  // State of the current pass.
  absl::Time now_;
  StagedIds& staged_;
  std::vector<OutboxRow> letters_;
  std::vector<LogEvent> events_;  // logged once the commit is known
  bool is_together_ = false;      // a batch handler is called once, with what was gathered
  std::vector<Gathered> gathered_;
  std::uint64_t retries_ = 0;
  std::uint64_t by_sequence_ = 0;
  bool is_changed_ = false;
  absl::Status error_;
};

}  // namespace once
