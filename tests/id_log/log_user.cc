// The course of a transaction, as src/stores/id_log/id_log.h has it.
#include "tests/id_log/log_user.h"

#include <algorithm>
#include <map>
#include <set>

namespace once::stores {
namespace {

IdKey ViewOf(const Key& key) { return {.scope = key.first, .id = key.second}; }

}  // namespace

void LogUser::Open() {
  // A fault that was planned for later may strike now; once.
  auto log = IdLog::Open(storage_, options_);
  if (!log.ok() && !storage_.is_dead()) {
    EXPECT_FALSE(absl::IsDataLoss(log.status())) << log.status();
    log = IdLog::Open(storage_, options_);
  }
  ASSERT_TRUE(log.ok() || storage_.is_dead()) << log.status();
  if (log.ok()) log_ = *std::move(log);
}

void LogUser::Resync() {
  absl::Status synced = log_->Resync();
  if (!synced.ok() && !storage_.is_dead()) synced = log_->Resync();
  EXPECT_TRUE(synced.ok() || storage_.is_dead()) << synced;
}

void LogUser::Stage(const std::vector<PutRow>& rows, IdChanges& changes) {
  for (const PutRow& put : rows) {
    known_.push_back(put.key);
    ASSERT_TRUE(
        log_->Stage({.key = ViewOf(put.key), .record = put.row.record}, put.row.extra, changes)
            .ok());
  }
}

void LogUser::Finish(const std::vector<PutRow>& rows, std::int64_t log_time_ms, bool is_synced,
                     IdChanges changes) {
  if (absl::Status wrote = log_->WriteSegment(changes, log_time_ms); !wrote.ok()) {
    EXPECT_FALSE(absl::IsDataLoss(wrote)) << wrote;
    storage_.Rollback();
    log_->RolledBack(std::move(changes));
    return;
  }
  for (const PutRow& put : rows) {
    const bool is_absent = put.row.record.state == IdState::kAbsent && put.row.extra.empty();
    storage_.PutTruth(put.key, is_absent ? std::nullopt
                                         : std::optional(FakeSegmentStorage::Truth{
                                               .row = put.row, .log_time_ms = log_time_ms}));
  }
  const absl::Status committed = storage_.Commit(is_synced);
  if (committed.ok()) {
    log_->Committed(std::move(changes));
  } else if (absl::IsUnknown(committed)) {
    Resync();
  } else {
    log_->RolledBack(std::move(changes));
  }
}

void LogUser::Transact(const std::vector<PutRow>& rows, std::int64_t log_time_ms, bool is_synced) {
  storage_.Begin();
  IdChanges changes;
  Stage(rows, changes);
  Finish(rows, log_time_ms, is_synced, std::move(changes));
}

void LogUser::TransactWithSavepoint(const std::vector<PutRow>& rows,
                                    const std::vector<PutRow>& undone, std::int64_t log_time_ms) {
  storage_.Begin();
  IdChanges changes;
  Stage(rows, changes);
  const std::size_t mark = changes.size();
  Stage(undone, changes);
  std::vector<PutRow> all = rows;
  all.insert(all.end(), undone.begin(), undone.end());
  CheckInside(changes, all);
  changes.CutTo(mark);
  CheckInside(changes, rows);
  Finish(rows, log_time_ms, true, std::move(changes));
}

bool LogUser::Compact(bool is_forced) {
  StartCompaction(is_forced);
  if (!compaction_) return false;
  while (compaction_) StepCompaction(1000);
  return true;
}

void LogUser::StepCompaction(std::size_t bytes) {
  if (!compaction_) return;
  const absl::Status stepped = compaction_->Step(bytes);
  EXPECT_FALSE(absl::IsDataLoss(stepped)) << stepped;
  if (!compaction_->is_over()) return;
  const absl::Status finished = log_->FinishCompaction(std::move(compaction_));
  EXPECT_FALSE(absl::IsDataLoss(finished)) << finished;
}

void LogUser::DropAll() {
  for (int i = 0; i < 10'000; ++i) {
    const absl::StatusOr<bool> dropped = log_->DropSome(3);
    EXPECT_FALSE(absl::IsDataLoss(dropped.status())) << dropped.status();
    if (storage_.is_dead() || (dropped.ok() && *dropped)) return;
  }
  ADD_FAILURE() << "there is no end to what is to be dropped";
}

void LogUser::Expire(std::int64_t log_time_ms) {
  expired_before_ = std::max(expired_before_, log_time_ms);
  const absl::Status expired = log_->Expire(log_time_ms);
  EXPECT_FALSE(absl::IsDataLoss(expired)) << expired;
}

void LogUser::Reopen(Restart restart, std::mt19937_64& random) {
  compaction_.reset();
  log_.reset();
  storage_.StartAgain(restart, random);
  Open();
}

void LogUser::ExpectAgreement(const Key& key, const OpenRow& found) {
  const auto known = storage_.disk().truth.find(key);
  if (known == storage_.disk().truth.end()) {
    EXPECT_EQ(found, OpenRow{}) << key.first << " " << key.second;
    return;
  }
  const FakeSegmentStorage::Truth& truth = known->second;
  const bool may_be_forgotten =
      truth.row.record.state == IdState::kCompleted && truth.log_time_ms < expired_before_;
  if (may_be_forgotten && found == OpenRow{}) return;
  EXPECT_EQ(found, truth.row) << key.first << " " << key.second << " state "
                              << ToString(found.record.state) << " attempt "
                              << found.record.attempt;
}

void LogUser::CheckInside(const IdChanges& changes, const std::vector<PutRow>& rows) {
  std::map<Key, OpenRow> put;
  for (const PutRow& row : rows) put[row.key] = row.row;
  for (const auto& [key, row] : put) {
    const IdKey view = ViewOf(key);
    IdRecord record;
    std::string extra;
    const absl::Status found = log_->Find({&view, 1}, changes, {&record, 1},
                                          [&](std::size_t, std::string_view of) { extra = of; });
    ASSERT_TRUE(found.ok()) << found;
    EXPECT_EQ((OpenRow{.record = record, .extra = extra}), row);
  }
}

void LogUser::Check() {
  std::sort(known_.begin(), known_.end());
  known_.erase(std::unique(known_.begin(), known_.end()), known_.end());
  std::vector<IdKey> keys;
  for (const Key& key : known_) keys.push_back(ViewOf(key));
  std::vector<OpenRow> found(keys.size());
  std::vector<IdRecord> records(keys.size());
  const absl::Status looked =
      log_->Find(keys, IdChanges(), records,
                 [&](std::size_t i, std::string_view extra) { found[i].extra = extra; });
  ASSERT_TRUE(looked.ok()) << looked;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    found[i].record = records[i];
    ExpectAgreement(known_[i], found[i]);
  }
  std::set<Key> read;
  const absl::Status all =
      log_->ForEach([&](const IdKey& view, const IdRecord& record, std::string_view extra) {
        const Key key(view.scope, view.id);
        EXPECT_TRUE(read.insert(key).second) << "twice: " << key.second;
        ExpectAgreement(key, {.record = record, .extra = std::string(extra)});
        return absl::OkStatus();
      });
  ASSERT_TRUE(all.ok()) << all;
  for (const auto& [key, truth] : storage_.disk().truth) {
    if (!read.contains(key)) ExpectAgreement(key, {});
  }
}

}  // namespace once::stores
