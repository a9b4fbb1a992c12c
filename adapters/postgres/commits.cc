// The ends of transactions, and what was committed without waiting for the disk.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/position_rows.h"
#include "once/abseil.h"

namespace once::postgres {

absl::StatusOr<std::vector<Result>> Database::RunAlone(Session& session,
                                                       std::string_view operation) {
  auto results = session.Run(options_.answer_timeout);
  if (results.ok()) {
    // In a transaction that has failed, COMMIT is answered too, by ROLLBACK.
    if (results->back().tag() == "COMMIT") return results;
    return absl::AbortedError(absl::StrCat("postgres: ", ToAbsl(operation), " ", where_,
                                           ": the server rolled the transaction back"));
  }
  if (session.is_outcome_known()) return results.status();
  return absl::UnknownError(absl::StrCat(ToAbsl(ToStd(results.status().message())),
                                         ": the connection was lost inside the commit"));
}

absl::Status Database::Commit(Session& session, Durability wanted, std::string_view when_unknown) {
  if (wanted != Durability::kMachine) {
    has_unsynced_ = true;
    session.Queue(statements_.write_unsynced);
  }
  session.Queue(statements_.commit);
  const absl::Status committed = RunAlone(session, "commit").status();
  if (!absl::IsUnknown(committed)) return committed;
  return absl::UnknownError(absl::StrCat(ToAbsl(ToStd(committed.message())),
                                         when_unknown.empty() ? "" : "; ", ToAbsl(when_unknown)));
}

// The count is raised last, so that its row is held for no longer than the commit takes, and the
// counts of commits are in the order of the log: whoever finds a later one finds all before it.
absl::Status Database::CommitWords(Session& session) {
  has_unsynced_ = true;
  int recognitions = 0;
  {
    const std::lock_guard lock(words_mutex_);
    recognitions = recognitions_;
  }
  session.Queue(statements_.count_word, OwnOpening());
  session.Queue(statements_.write_unsynced);
  session.Queue(statements_.commit);
  const auto results = RunAlone(session, "record claims");
  if (!results.ok()) return results.status();
  const Result& counted = (*results)[results->size() - 3];
  const std::lock_guard lock(words_mutex_);
  // Somebody has met a server that came up again, before this commit was on the count: did it
  // happen before that, it may be gone.
  if (recognitions != recognitions_ && !session.IsAlive()) {
    return absl::UnknownError(
        absl::StrCat("postgres: record claims ", where_, ": the server went away at that moment"));
  }
  CheckWords(counted.rows() == 1 ? counted.Int(0, 0) : 0, 1);
  last_word_ = std::max(last_word_, counted.rows() == 1 ? counted.Int(0, 0) : 1);
  return absl::OkStatus();
}

void Database::CheckWords(std::int64_t found, std::int64_t wanted) {
  if (found >= wanted || !words_lost_.ok()) return;
  words_lost_ = absl::DataLossError(
      absl::StrCat("postgres: sync ", where_, ": the server has lost the last ", wanted - found,
                   " commits of claims that were not synced yet; open the store anew: what was not "
                   "acknowledged is delivered again"));
}

absl::Status Database::RecogniseWords(Session& session) {
  session.Queue(statements_.read_words, OwnOpening());
  const auto read = session.Run(options_.answer_timeout);
  if (!read.ok()) return read.status();
  const Result& row = read->back();
  const std::lock_guard lock(words_mutex_);
  ++recognitions_;
  CheckWords(row.rows() == 1 ? row.Int(0, 0) : 0, last_word_);
  return absl::OkStatus();
}

absl::Status Database::Sync() {
  std::int64_t wanted = 0;
  {
    const std::lock_guard lock(words_mutex_);
    if (!words_lost_.ok()) return words_lost_;
    if (last_word_ <= synced_word_) return absl::OkStatus();
    wanted = last_word_;
  }
  auto session = Acquire("sync");
  if (!session.ok()) return session.status();
  (*session)->Queue(statements_.begin);
  (*session)->Queue(statements_.sync_words, OwnOpening());
  (*session)->Queue(statements_.commit);
  const auto results = RunAlone(**session, "sync");
  if (!results.ok()) return results.status();
  const Result& counted = (*results)[1];
  const std::int64_t found = counted.rows() == 1 ? counted.Int(0, 0) - 1 : 0;
  const std::lock_guard lock(words_mutex_);
  CheckWords(found, wanted);
  if (!words_lost_.ok()) return words_lost_;
  last_word_ = std::max(last_word_, found + 1);
  synced_word_ = std::max(synced_word_, found + 1);
  return absl::OkStatus();
}

absl::StatusOr<int> Database::EndHungOwners(std::span<const PartitionKey> keys) {
  Column pids(Column::Type::kInt4);
  {
    const std::lock_guard lock(mutex_);
    for (const int pid : pids_) pids.Add(pid);
  }
  auto session = Acquire("end a hung owner's session");
  if (!session.ok()) return session.status();
  Params params = KeyParams(keys);
  params.Int8(absl::ToInt64Microseconds(options_.hung_after)).Bytes(session_name_).Array(pids);
  (*session)->Queue(statements_.end_hung_owners, std::move(params));
  const auto ended = (*session)->Run(options_.answer_timeout);
  if (!ended.ok()) return ended.status();
  return ended->back().rows();
}

}  // namespace once::postgres
