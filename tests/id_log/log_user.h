// A store around an IdLog, as far as the log can tell: transactions with savepoints, upkeep,
// crashes and reopenings, each survived in the way that the log's contract demands. It knows what
// the log must answer: the truth that its storage keeps.
// Thread-safety: none of its own.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "src/stores/id_log/id_log.h"
#include "tests/id_log/fake_segment_storage.h"

namespace once::stores {

using Key = FakeSegmentStorage::Key;

struct PutRow {
  Key key;
  OpenRow row;
};

inline IdRecord Completed(std::uint64_t print, int attempt = 1) {
  return {
      .state = IdState::kCompleted, .fingerprint = {.high = print, .low = 7}, .attempt = attempt};
}

class LogUser {
 public:
  explicit LogUser(const IdLogOptions& options) : options_(options) { Open(); }

  FakeSegmentStorage& storage() { return storage_; }
  IdLog& log() { return *log_; }

  // One transaction; what became of it is the storage's truth.
  void Transact(const std::vector<PutRow>& rows, std::int64_t log_time_ms, bool is_synced = true);
  // Likewise, with rows in between that a savepoint takes back, and a look at them.
  void TransactWithSavepoint(const std::vector<PutRow>& rows, const std::vector<PutRow>& undone,
                             std::int64_t log_time_ms);
  // A whole compaction. False: there was nothing to do.
  bool Compact(bool is_forced);
  void StartCompaction(bool is_forced) {
    if (!compaction_) compaction_ = log_->StartCompaction(is_forced);
  }
  void StepCompaction(std::size_t bytes);
  void DropAll();
  void Expire(std::int64_t log_time_ms);
  // The process ends and comes again.
  void Reopen(Restart restart, std::mt19937_64& random);
  // If it died of a fault.
  void ReopenIfDead(Restart restart, std::mt19937_64& random) {
    if (storage_.is_dead()) Reopen(restart, random);
  }

  // What is found for all ids that there ever were, at once, and what reading everything gives, are
  // the truth.
  void Check();
  // The answers inside a transaction that has put `rows`.
  void CheckInside(const IdChanges& changes, const std::vector<PutRow>& rows);

 private:
  void Open();
  void Resync();
  void Stage(const std::vector<PutRow>& rows, IdChanges& changes);
  void Finish(const std::vector<PutRow>& rows, std::int64_t log_time_ms, bool is_synced,
              IdChanges changes);
  void ExpectAgreement(const Key& key, const OpenRow& found);

  IdLogOptions options_;
  FakeSegmentStorage storage_;
  std::unique_ptr<IdLog> log_;
  std::unique_ptr<Compaction> compaction_;
  std::vector<Key> known_;                   // every key that was ever put
  std::int64_t expired_before_ = INT64_MIN;  // completed ids from before may be forgotten
};

}  // namespace once::stores
