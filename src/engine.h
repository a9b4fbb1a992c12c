// The engine behind Consumer: one polling thread that owns all state of partitions, one worker that
// runs handlers, one that syncs what the worker has committed, one relay, one keeper of leases.
// A full batch is chosen while the worker has the one before it, and follows that by itself.
// engine.cc has the loop, engine_intake.cc what the source says, engine_rows.cc the position rows,
// engine_start.cc where a partition goes on, engine_batches.cc the batches, engine_sync.cc what
// becomes of them after that, engine_loss.cc the numbered messages that are missing.
//
// A transactional handler's authority is the store's position row; a plain handler's is the
// broker's committed offset, and its partitions have no row.
//
// No time, sleep, randomness, thread or I/O except through the seams in ConsumerOptions.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/consumer.h"
#include "src/lease_keeper.h"
#include "src/order_worker.h"
#include "src/partition.h"
#include "src/settle_batch.h"

namespace once {

// The user's handler, in one of its forms.
using Handler =
    std::variant<TransactionalHandlerFunction, PlainHandlerFunction, BatchHandlerFunction>;

class Engine : private SourceListener {
 public:
  // REQUIRES: options are valid (Consumer::Create checks them); the store has transactions() for a
  // transactional handler, claims() for a plain one.
  Engine(ConsumerOptions options, Handler handler);
  ~Engine() override;

  absl::Status Run(const std::stop_token& stop);
  absl::StatusOr<bool> Step();
  absl::Status Stop();

  Guarantee guarantee() const;
  ConsumerStats stats() const;
  std::vector<StoppedPartition> stopped_partitions() const;

 private:
  // engine.cc: the loop.
  void Start();
  void Turn();
  void Execute(WorkOrder& order);
  void CancelOverdue();
  absl::Status Shutdown(absl::Time deadline);
  void RunRelay();
  void RelayRoundOnce();
  void SendHints(absl::Time now);
  void ReportLag(absl::Time now);
  void Log(LogLevel level, std::string_view action, std::string message,
           const TopicPartition* partition = nullptr, std::vector<LogField> fields = {});
  void Publish(const ConsumerStats& delta);

  // engine_intake.cc: what the source says.
  bool PollSource();
  absl::Time PollDeadline(absl::Time now) const;
  void Buffer(Batch batch);
  bool IsFull() const;
  void PauseAll();
  void PauseWaiting(absl::Time now);
  bool Trim(Partition& partition);
  void ResumePaused(absl::Time now);
  void StopPartition(Partition& partition, absl::Status reason, std::vector<LogField> fields = {});
  void Unlist(const TopicPartition& name);
  void Forget(Partition& partition);
  void DrainWorker(std::span<const TopicPartition> partitions, absl::Time deadline);
  void OnAssigned(const Assignment& assignment) override;
  void OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) override;
  void OnPartitionError(const TopicPartition& name, const absl::Status& error) override;

  // engine_rows.cc: the position rows.
  void ServeUnread();
  void VerifyUnread(absl::Time now);
  void Reread(Partition& partition);
  void ApplyTake(const TakeOrder& order);
  void ApplyRow(Partition& partition, const TakenPosition& taken);
  void BeginNumbers(Partition& partition);
  void ApplyRows(const RowsOrder& order);
  void LeaveClean(std::span<const TopicPartition> partitions, absl::Time deadline);
  bool IsAuditDue(const Partition& partition, absl::Time now) const;
  void SubmitAudit();
  void ApplyAudit(const AuditOrder& order);
  void HandleMismatch(Partition& partition, const std::optional<PositionStamp>& actual);

  // engine_start.cc: where a partition goes on.
  void DescribeUnread(absl::Time now);
  absl::Duration RetentionInUse() const;
  absl::StatusOr<absl::Duration> ReadRetention(const std::string& topic);
  void ApplyBounds(Partition& partition, const PartitionBounds& bounds);
  std::string MarkOf(std::optional<std::int64_t> began) const;
  void PlanOrDescribe(Partition& partition, const TakenPosition& taken);
  void CarryOut(Partition& partition, StartPlan plan);
  void CountFinding(std::string_view finding);
  void BeginPlanned(Partition& partition);
  void Realign(Partition& partition, std::int64_t position,
               std::optional<AppliedRecord> witness = std::nullopt);
  bool MeetWitness(Partition& partition, const Message& message);
  void WakeStopped(Partition& partition);

  // engine_batches.cc: batches.
  std::size_t BatchRoom(std::size_t letters_to_come) const;
  void SubmitBatch();
  void PrepareBatch();
  void PutBack(std::unique_ptr<WorkOrder> order);
  static void MoveToBatch(Partition& partition, std::size_t count, BatchOrder& batch);
  std::vector<Partition*> ReadyPartitions(absl::Time now);
  BatchOrder ChooseBatch(std::vector<Partition*> ready, std::size_t room);
  bool IsRowDue(absl::Time now) const;
  bool IsWorkerNeeded(absl::Time now) const;
  void Collect();
  void Apply(WorkOrder& order);
  void ApplyBatch(BatchOrder& order);
  void ApplyClaims(BatchOrder& order);
  void AdaptClaimRoom(const BatchOrder& order);
  void CountVerdicts(const BatchOrder& order, ConsumerStats& delta) const;
  void Return(Partition& partition, WorkPartition& work);
  void Drop(WorkPartition& work);
  void PutOff(Partition& partition, int failures, absl::Time now) const;
  void ApplyTrouble(Partition& partition, const absl::Status& error, absl::Time now);

  // engine_sync.cc: from committed to synced.
  void NoteCommitted(Partition& partition, const WorkPartition& work, bool is_unsynced);
  void SubmitSync();
  void CollectSync();
  void ApplySync(const SyncOrder& order);
  void RereadUnsynced();
  void FinishSync(absl::Time deadline);

  // engine_loss.cc: numbered messages that are missing.
  bool keeps_numbers() const;
  void BeginSequences(Partition& partition, bool is_taken);
  absl::Status AskWhetherCompacted(Partition& partition);
  void FollowMarks(absl::Time now);
  void PollMarks(absl::Time now);
  void KeepMark(const ReceivedMark& received);
  absl::Duration JudgeInterval() const;
  bool IsLossDue(const Partition& partition, absl::Time now) const;
  std::int64_t LogTimeIn(const Partition& partition, absl::Time at_rest_since) const;
  absl::Duration RestIn(Partition& partition, absl::Time now);
  void RereadDropped(absl::Time now);
  void SubmitLossCheck();
  void ApplyLoss(LossOrder& order);
  void NoteTracked(Partition& partition, const TrackedPartition& tracked);
  void TellLosses(const std::vector<LossEvent>& losses, std::uint64_t unstamped);
  void TellLoss(const LossEvent& event);

  void ReportGuarantee(absl::Time now);

  Partition* Find(const TopicPartition& name);
  Partition* FindIfCurrent(const TopicPartition& name, std::uint64_t assignment);

  bool has_rows() const { return !std::holds_alternative<PlainHandlerFunction>(handler_); }
  bool has_relay() const {
    return options_.store->transactions() != nullptr && options_.dead_letters.publisher != nullptr;
  }
  // REQUIRES: has_rows() or has_relay().
  TransactionalStore& store() { return *options_.store->transactions(); }

  // A batch claims no more than the handlers are likely to get through in time.
  static constexpr std::size_t kFirstClaims = 16;

  ConsumerOptions options_;
  const Handler handler_;
  // A transactional handler as it is called for one message; empty for a plain one.
  const TransactionalHandlerFunction per_message_;
  LogSource& source_;
  Executor& executor_;
  // Plain handlers only. Before the partitions: what they hold is given up first.
  std::unique_ptr<LeaseKeeper> keeper_;

  // Owned by the polling thread.
  std::map<TopicPartition, Partition> partitions_;
  Partition* last_buffered_ = nullptr;  // where the previous message went; messages come in runs
  std::size_t buffered_messages_ = 0;   // queued and in flight
  std::size_t buffered_bytes_ = 0;
  std::size_t rotation_ = 0;               // which ready partition a batch begins with
  std::size_t claim_room_ = kFirstClaims;  // messages that the next batch may claim
  absl::Time last_poll_ = absl::InfinitePast();
  absl::Time next_hint_ = absl::InfinitePast();
  absl::Time next_relay_ = absl::InfinitePast();  // Step() only; Run() has a task for it
  std::unique_ptr<WorkOrder> spent_;              // collected; destroyed when there is time for it
  absl::Status fatal_;
  std::optional<Guarantee> reported_;              // the guarantee as log and metrics have it …
  absl::Time next_report_ = absl::InfinitePast();  // … and when it is looked at again
  bool is_sync_due_ = false;       // something was committed after the last sync began
  int sync_failures_ = 0;          // in a row
  bool is_sync_doubtful_ = false;  // one has failed: rows that were to be synced must be read again
  bool is_marks_due_ = false;      // side topics are to be read from their beginning
  absl::Time next_reread_ = absl::InfinitePast();
  std::map<std::string, bool> compacted_;  // topics, as far as it was asked
  absl::Time next_marks_ = absl::InfinitePast();
  bool is_flowing_ = true;  // the last batch was settled whole
  bool is_started_ = false;
  bool is_closed_ = false;

  std::atomic<bool> is_retention_short_ = false;  // of some partition there was

  // Shared with the relay.
  std::atomic<std::size_t> outbox_pending_ = 0;
  std::atomic<bool> is_relay_stopping_ = false;
  std::unique_ptr<Event> relay_wake_;

  mutable std::mutex mutex_;  // guards what follows; never held over a seam call
  ConsumerStats stats_;
  std::vector<StoppedPartition> stopped_;

  SettleBuffers settle_buffers_;  // of the worker

  OrderWorker worker_;  // after everything that its task touches
  OrderWorker syncer_;  // likewise
  std::unique_ptr<Task> relay_;
};

}  // namespace once
