// The ends of transactions, and what was committed without waiting for the disk.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/position_rows.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

// Of all openings. What a thread has recorded before a loss, it must not take for synced.
std::atomic<std::uint64_t> losses_of_process = 0;

// How many there were before this thread recorded anything: those do not concern it.
std::uint64_t LossesAtFirstCall() {
  thread_local const std::uint64_t losses = losses_of_process;
  return losses;
}

}  // namespace

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

absl::StatusOr<std::vector<Result>> Database::CommitQueued(Session& session, Durability wanted,
                                                           std::string_view when_unknown) {
  const bool is_synced = wanted == Durability::kMachine;
  if (!is_synced) has_unsynced_ = true;
  session.Queue(is_synced ? statements_.write_synced : statements_.write_unsynced);
  session.Queue(statements_.commit);
  if (is_synced) {
    ONCE_KILL_POINT("postgres.before_commit");
  } else {
    ONCE_KILL_POINT("postgres.before_unsynced_commit");
  }
  auto results = RunAlone(session, "commit");
  if (results.ok() && is_synced) ONCE_KILL_POINT("postgres.committed");
  if (results.ok() && !is_synced) ONCE_KILL_POINT("postgres.committed_unsynced");
  if (results.ok() && is_synced) NoteSynced((*results)[results->size() - 2]);
  const absl::Status& committed = results.status();
  if (!absl::IsUnknown(committed)) return results;
  return absl::UnknownError(absl::StrCat(ToAbsl(ToStd(committed.message())),
                                         when_unknown.empty() ? "" : "; ", ToAbsl(when_unknown)));
}

void Database::NoteSynced(const Result& said) {
  const std::lock_guard lock(mutex_);
  synced_log_ = std::max(synced_log_, said.Int(0, 2));
  if (said.Int(0, 1) != 0 || !server_->weakness.empty()) return;
  server_->weakness =
      "the server's fsync or full_page_writes was turned off: a power failure may destroy its "
      "data; set both on, and open the store anew";
}

// The count is raised last, so that its row is held for no longer than the commit takes, and the
// counts of commits are in the order of the log: whoever finds a later one finds all before it.
absl::Status Database::CommitWords(Session& session) {
  has_unsynced_ = true;
  LossesAtFirstCall();
  int recognitions = 0;
  {
    const std::lock_guard lock(words_mutex_);
    recognitions = recognitions_;
  }
  session.Queue(statements_.count_word, OwnOpening());
  session.Queue(statements_.write_unsynced);
  session.Queue(statements_.commit);
  ONCE_KILL_POINT("postgres.before_claims");
  const auto results = RunAlone(session, "record claims");
  if (!results.ok()) return results.status();
  ONCE_KILL_POINT("postgres.claims_recorded");
  const Result& counted = (*results)[results->size() - 3];
  if (counted.rows() != 1) return PutOpening(session);
  const std::lock_guard lock(words_mutex_);
  // Somebody has met a server that came up again, before this commit was on the count: did it
  // happen before that, it may be gone.
  if (recognitions != recognitions_ && !session.IsAlive()) {
    return absl::UnknownError(
        absl::StrCat("postgres: record claims ", where_, ": the server went away at that moment"));
  }
  last_word_ = std::max(last_word_, counted.Int(0, 0));
  return absl::OkStatus();
}

absl::Status Database::PutOpening(Session& session) {
  session.Queue(statements_.put_opening, OwnOpening());
  const absl::Status put = session.Run(options_.answer_timeout).status();
  const std::lock_guard lock(words_mutex_);
  CheckWords(0, std::max<std::int64_t>(last_word_, 1));
  if (put.ok()) return put;
  return absl::UnknownError(
      absl::StrCat(ToAbsl(ToStd(put.message())), ": the claims are recorded, and are not counted"));
}

void Database::CheckWords(std::int64_t found, std::int64_t wanted) {
  if (found >= wanted) return;
  words_lost_ = absl::UnavailableError(
      absl::StrCat("postgres: sync ", where_, ": the server has lost the last ", wanted - found,
                   " commits of claims that were not synced yet; what was not acknowledged must be "
                   "delivered again"));
  loss_ = ++losses_of_process;
  told_.clear();
  last_word_ = found;
  synced_word_ = std::min(synced_word_, found);
}

absl::Status Database::TellLoss() {
  if (words_lost_.ok() || LossesAtFirstCall() >= loss_) return absl::OkStatus();
  return told_.insert(std::this_thread::get_id()).second ? words_lost_ : absl::OkStatus();
}

absl::Status Database::RecogniseWords(Session& session) {
  session.Queue(statements_.read_words, OwnOpening());
  const auto read = session.Run(options_.answer_timeout);
  if (!read.ok()) return read.status();
  const Result& row = read->back();
  {
    const std::lock_guard lock(words_mutex_);
    ++recognitions_;
    CheckWords(row.rows() == 1 ? row.Int(0, 0) : 0, last_word_);
  }
  if (row.rows() == 1) return absl::OkStatus();
  // The server has lost it, or somebody took it for that of a process long gone.
  session.Queue(statements_.put_opening, OwnOpening());
  return session.Run(options_.answer_timeout).status();
}

absl::Status Database::Sync() {
  std::int64_t wanted = 0;
  {
    const std::lock_guard lock(words_mutex_);
    if (absl::Status lost = TellLoss(); !lost.ok()) return lost;
    if (last_word_ <= synced_word_) return absl::OkStatus();
    wanted = last_word_;
  }
  auto session = Acquire("sync");
  if (!session.ok()) return session.status();
  (*session)->Queue(statements_.begin);
  (*session)->Queue(statements_.sync_words, OwnOpening());
  (*session)->Queue(statements_.write_synced);
  (*session)->Queue(statements_.commit);
  ONCE_KILL_POINT("postgres.before_sync");
  const auto results = RunAlone(**session, "sync");
  if (!results.ok()) return results.status();
  ONCE_KILL_POINT("postgres.synced");
  NoteSynced((*results)[2]);
  const Result& counted = (*results)[1];
  const std::int64_t found = counted.rows() == 1 ? counted.Int(0, 0) - 1 : 0;
  const std::lock_guard lock(words_mutex_);
  CheckWords(found, wanted);
  if (absl::Status lost = TellLoss(); !lost.ok()) return lost;
  last_word_ = std::max(last_word_, found + 1);
  synced_word_ = std::max(synced_word_, found + 1);
  return absl::OkStatus();
}

absl::StatusOr<int> Database::EndHungOwners(std::span<const PartitionKey> keys) {
  // The server can take no more from its clock, and nobody has been silent for so long.
  constexpr absl::Duration kLongest = absl::Hours(24 * 365 * 1'000);
  if (options_.hung_after > kLongest) return 0;
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
