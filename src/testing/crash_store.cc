// Every call of a real store, at the gate.
#include "src/testing/crash_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

absl::Status Dead() { return absl::CancelledError("crash test: the process is dead"); }

}  // namespace

MessageName NameOf(const Message& message) {
  return {std::string(message.id()), std::string(message.value().value_or(""))};
}

void CrashLedger::Record(const Process& process, std::string_view what) const {
  if (history != nullptr) history->push_back(absl::StrCat(process.name(), ": ", ToAbsl(what)));
}

CrashTransaction::CrashTransaction(CrashStore& store, std::unique_ptr<StoreTransaction> inner)
    : store_(store), inner_(std::move(inner)) {
  store_.open_ = this;
}

CrashTransaction::~CrashTransaction() { store_.open_ = nullptr; }

void CrashTransaction::Note(const Message& message, const Outcome& outcome) {
  if (outcome.is_done()) runs_.push_back({.name = NameOf(message)});
  if (outcome.kind() != OutcomeKind::kSkip) return;
  store_.ledger_.skipped.insert_or_assign(std::string(message.id()), NameOf(message));
}

absl::Status CrashTransaction::FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) {
  return store_.Call(Seam::kFindIds, [&] { return inner_->FindIds(keys, records); });
}

absl::Status CrashTransaction::PutIds(std::span<const IdWrite> writes) {
  return store_.Call(Seam::kPutIds, [&] {
    for (const IdWrite& write : writes) {
      if (write.record.state != IdState::kDiscarded) continue;
      const auto skip = store_.ledger_.skipped.find(std::string(write.key.id));
      if (skip == store_.ledger_.skipped.end()) continue;
      runs_.push_back({.name = skip->second, .is_skip = true});
    }
    return inner_->PutIds(writes);
  });
}

absl::Status CrashTransaction::FindNotes(std::span<const std::string_view> keys,
                                         std::span<std::string> values) {
  return store_.Call(Seam::kFindNotes, [&] { return inner_->FindNotes(keys, values); });
}

absl::Status CrashTransaction::PutNotes(std::span<const once::Note> notes) {
  return store_.Call(Seam::kPutNotes, [&] { return inner_->PutNotes(notes); });
}

absl::Status CrashTransaction::PutOutgoing(std::span<const OutboxRow> rows) {
  return store_.Call(Seam::kPutOutgoing, [&] { return inner_->PutOutgoing(rows); });
}

absl::Status CrashTransaction::Publish(const OutgoingMessage& message) {
  return store_.Call(Seam::kPutOutgoing, [&] { return inner_->Publish(message); });
}

absl::Status CrashTransaction::SetSavepoint() {
  return store_.Call(Seam::kSetSavepoint, [&] {
    runs_before_savepoint_ = runs_.size();
    return inner_->SetSavepoint();
  });
}

absl::Status CrashTransaction::RollbackToSavepoint() {
  return store_.Call(Seam::kRollbackToSavepoint, [&] {
    runs_.resize(runs_before_savepoint_);
    return inner_->RollbackToSavepoint();
  });
}

absl::Status CrashTransaction::CheckOpen() {
  return store_.Call(Seam::kCheckOpen, [&] { return inner_->CheckOpen(); });
}

absl::Status CrashTransaction::SetPositions(std::span<const PositionUpdate> updates) {
  return store_.Call(Seam::kSetPositions, [&] { return inner_->SetPositions(updates); });
}

absl::Status CrashTransaction::Commit(Durability wanted) {
  const auto commit = [&] {
    const absl::Status status = inner_->Commit(wanted);
    if (!status.ok()) return status;
    for (const Run& run : runs_) {
      if (run.is_skip) {
        store_.ledger_.settled.insert(run.name);
      } else {
        ++store_.ledger_.runs[run.name];
      }
    }
    store_.ledger_.Record(*store_.process_,
                          absl::StrCat("commits ", runs_.size(), " handled messages"));
    return status;
  };
  return store_.Call(Seam::kCommit, commit, [&] { inner_->Rollback(); });
}

void CrashTransaction::Rollback() {
  (void)store_.Call(Seam::kRollback, [&] {
    inner_->Rollback();
    return absl::OkStatus();
  });
}

CrashStore::CrashStore(SeamGate& gate, std::shared_ptr<Process> process, CrashLedger& ledger,
                       std::shared_ptr<DedupStore> inner)
    : gate_(gate), process_(std::move(process)), ledger_(ledger), inner_(std::move(inner)) {}

absl::Status CrashStore::Call(Seam seam, absl::FunctionRef<absl::Status()> call,
                              absl::FunctionRef<void()> undo) {
  const auto die = [this] {
    if (open_ != nullptr) open_->Abandon();
    return Dead();
  };
  const Fault fault = gate_.Pass(*process_, seam);
  if (process_->is_dead()) return die();
  if (fault == Fault::kFailure || fault == Fault::kUnknownNotApplied) {
    undo();
    return fault == Fault::kFailure ? absl::UnavailableError("crash test: the call fails")
                                    : absl::UnknownError("crash test: the answer is lost");
  }
  absl::Status status = call();
  if (fault == Fault::kCrashAfter) {
    gate_.Crash(*process_);
    return die();
  }
  if (fault == Fault::kUnknownApplied) return absl::UnknownError("crash test: the answer is lost");
  return status;
}

absl::StatusOr<BeginResult> CrashStore::Begin(std::span<const PositionLock> locks) {
  absl::StatusOr<BeginResult> result;
  const absl::Status status = Call(Seam::kBegin, [&] {
    result = inner_->transactions()->Begin(locks);
    return result.status();
  });
  if (!status.ok()) return status;
  if (result->transaction != nullptr) {
    result->transaction = std::make_unique<CrashTransaction>(*this, std::move(result->transaction));
  }
  return result;
}

absl::StatusOr<std::vector<TakenPosition>> CrashStore::Take(std::span<const TakeRequest> requests) {
  absl::StatusOr<std::vector<TakenPosition>> result;
  const absl::Status status = Call(Seam::kTake, [&] {
    result = inner_->transactions()->Take(requests);
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<std::vector<std::optional<PositionStamp>>> CrashStore::ReadPositions(
    std::span<const PartitionKey> keys) {
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> result;
  const absl::Status status = Call(Seam::kReadPositions, [&] {
    result = inner_->transactions()->ReadPositions(keys);
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<std::vector<PendingRow>> CrashStore::FindPending(std::size_t rows_max) {
  absl::StatusOr<std::vector<PendingRow>> result;
  const absl::Status status = Call(Seam::kFindPending, [&] {
    result = inner_outbox().FindPending(rows_max);
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<std::size_t> CrashStore::CountPending() {
  absl::StatusOr<std::size_t> result;
  const absl::Status status = Call(Seam::kCountPending, [&] {
    result = inner_outbox().CountPending();
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

absl::Status CrashStore::MarkPublished(std::span<const std::int64_t> sequences) {
  return Call(Seam::kMarkPublished, [&] { return inner_outbox().MarkPublished(sequences); });
}

absl::Status CrashStore::Park(std::int64_t sequence, const absl::Status& reason) {
  return Call(Seam::kPark, [&] { return inner_outbox().Park(sequence, reason); });
}

absl::Status CrashStore::TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                  std::span<ClaimResult> results) {
  return Call(Seam::kTryClaim,
              [&] { return inner_->claims()->TryClaim(requests, lease, results); });
}

absl::Status CrashStore::Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return Call(Seam::kBegun, [&] { return inner_->claims()->Begun(claims, outcomes); });
}

absl::Status CrashStore::Renew(std::span<const Claim> claims, absl::Duration lease,
                               std::span<absl::Status> outcomes) {
  return Call(Seam::kRenew, [&] { return inner_->claims()->Renew(claims, lease, outcomes); });
}

absl::Status CrashStore::Complete(std::span<const CompletedClaim> claims,
                                  std::span<absl::Status> outcomes) {
  return Call(Seam::kComplete, [&] { return inner_->claims()->Complete(claims, outcomes); });
}

absl::Status CrashStore::Fail(std::span<const FailedClaim> claims,
                              std::span<absl::Status> outcomes) {
  return Call(Seam::kFail, [&] { return inner_->claims()->Fail(claims, outcomes); });
}

absl::Status CrashStore::Dying(std::span<const DyingClaim> claims,
                               std::span<absl::Status> outcomes) {
  return Call(Seam::kDying, [&] { return inner_->claims()->Dying(claims, outcomes); });
}

absl::Status CrashStore::Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return Call(Seam::kKill, [&] { return inner_->claims()->Kill(claims, outcomes); });
}

absl::Status CrashStore::Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return Call(Seam::kDiscard, [&] { return inner_->claims()->Discard(claims, outcomes); });
}

absl::Status CrashStore::Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return Call(Seam::kRelease, [&] { return inner_->claims()->Release(claims, outcomes); });
}

absl::Status CrashStore::Sync() {
  return Call(Seam::kSync, [&] { return inner_->claims()->Sync(); });
}

}  // namespace once::testing
