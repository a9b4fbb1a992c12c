// Closing, sweeping, dropping.
#include "adapters/postgres/bucket_upkeep.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/log_time_alarm.h"
#include "once/abseil.h"
#include "src/stores/retention.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

constexpr absl::Duration kFirstPatience = absl::Milliseconds(10);
// Of what a transaction waits for the lock: those behind us must get it in time.
constexpr double kPatienceShare = 0.75;
// Who has the lock waits for the table's: only who reads beside transactions is in the way.
constexpr absl::Duration kTablePatience = absl::Milliseconds(50);
// Others wait behind us in one part of so many of the time.
constexpr int kRests = 20;
// One statement reads so many pages, which takes some ten milliseconds; one look so many of these.
constexpr std::int64_t kPagesAtOnce = 1024;
constexpr int kRangesAtOnce = 32;
// Somebody may want one of them meanwhile.
constexpr std::int64_t kMovedAtOnce = 1000;

constexpr std::string_view kLockNotAvailable = "55P03";
constexpr std::string_view kNotAsItWas = "22012";  // a division by zero: see statements.cc

}  // namespace

BucketUpkeep::BucketUpkeep(Database& database)
    : database_(database),
      retention_ms_(absl::ToInt64Milliseconds(database.options().retention)),
      span_ms_(stores::MergeSpan(database.options().retention)),
      patience_max_(std::max(database.options().lock_timeout * kPatienceShare, kFirstPatience)),
      patience_(kFirstPatience),
      due_ms_(kNoLogTime) {}

absl::StatusOr<std::vector<Result>> BucketUpkeep::Ask(Session& session, const Statement& statement,
                                                      Params params) {
  session.Queue(statement, std::move(params));
  return session.Run(database_.options().answer_timeout);
}

std::string BucketUpkeep::TableOf(std::int64_t bucket) const {
  return absl::StrCat(database_.options().schema, ".known_ids_", bucket);
}

absl::Status BucketUpkeep::Restart(Session& session, absl::Duration hung_after) {
  sweep_.reset();
  session.QueueText(
      absl::StrCat("SET idle_session_timeout TO ", absl::ToInt64Milliseconds(hung_after)),
      "look after ids");
  return session.Run(database_.options().answer_timeout).status();
}

absl::StatusOr<bool> BucketUpkeep::Look(Session& session, const std::stop_token& stop) {
  due_ms_ = kNoLogTime;
  const Statements& statements = database_.statements();
  const auto leads = Ask(session, statements.try_upkeep, {});
  if (!leads.ok()) return leads.status();
  if (leads->back().Int(0, 0) == 0) return false;
  const absl::StatusOr<Progress> tended = Tend(session, stop);
  if (session.is_lost()) return tended.status();
  session.DropQueued();
  if (!session.is_idle()) session.Queue(statements.rollback);
  session.Queue(statements.release_upkeep);
  const absl::Status released = session.Run(database_.options().answer_timeout).status();
  if (!tended.ok()) return tended.status();
  if (!released.ok()) return released;
  return *tended == Progress::kMore;
}

absl::StatusOr<BucketUpkeep::Overview> BucketUpkeep::ReadOverview(Session& session) {
  const auto read = Ask(session, database_.statements().look_at_buckets, {});
  if (!read.ok()) return read.status();
  const Result& row = read->back();
  if (row.rows() != 1) {
    return absl::DataLossError(absl::StrCat("postgres: look after ids ", database_.where(),
                                            ": table buckets is empty; restore a backup"));
  }
  Overview overview{.buckets = row.Int(0, 0),
                    .has_permanent = row.Int(0, 1) != 0,
                    .current = row.Int(0, 2),
                    .is_known = row.Int(0, 4) != 0,
                    .greatest_ms = row.IsNull(0, 5) ? -1 : row.Int(0, 5),
                    .lowest_ms = row.Int(0, 6)};
  if (!row.IsNull(0, 3)) overview.opened_at_ms = row.Int(0, 3);
  is_at_rest_ = row.Int(0, 7) != 0;
  return overview;
}

absl::StatusOr<BucketUpkeep::Progress> BucketUpkeep::Tend(Session& session,
                                                          const std::stop_token& stop) {
  auto overview = ReadOverview(session);
  if (!overview.ok()) return overview.status();
  if (!overview->is_known) {
    // The first log time there is begins the first bucket; where one is missing, time must tell.
    if (overview->greatest_ms < 0) due_ms_ = 0;
    return Progress::kDone;
  }
  if (!overview->opened_at_ms) {
    const auto opened =
        Ask(session, database_.statements().date_bucket,
            std::move(Params().Int8(overview->current).Int8(overview->greatest_ms)));
    if (!opened.ok()) return opened.status();
    overview->opened_at_ms = overview->greatest_ms;
  }
  bool may_close = overview->buckets < kBucketsMax;
  if (may_close && overview->greatest_ms - *overview->opened_at_ms > span_ms_) {
    if (absl::Status closed = CloseBucket(session, *overview); !closed.ok()) return closed;
    // Where somebody held the lock, nothing but time helps.
    may_close = overview->greatest_ms - *overview->opened_at_ms <= span_ms_;
  }
  if (may_close) due_ms_ = *overview->opened_at_ms + span_ms_ + 1;
  const StoredPosition slowest{.last_applied = AppliedRecord{.log_time_ms = overview->lowest_ms}};
  const auto limit = stores::ExpiryLimit({&slowest, 1}, database_.options().retention);
  if (!limit) return Progress::kDone;
  const auto expired = FindExpired(session, *limit);
  if (!expired.ok()) return expired.status();
  if (!*expired) {
    sweep_.reset();
    return Progress::kDone;
  }
  return Forget(session, *overview, **expired, stop);
}

void BucketUpkeep::QueueExclusive(Session& session) {
  session.QueueText(
      absl::StrCat("SET LOCAL lock_timeout TO ", absl::ToInt64Milliseconds(patience_)),
      "wait for a lock");
  session.Queue(database_.statements().exclude_ids);
  session.QueueText(
      absl::StrCat("SET LOCAL lock_timeout TO ", absl::ToInt64Milliseconds(kTablePatience)),
      "wait for a lock");
}

absl::StatusOr<bool> BucketUpkeep::RunExclusive(Session& session, std::string_view operation) {
  session.Queue(database_.statements().commit);
  const auto done = database_.RunAlone(session, operation);
  if (done.ok()) {
    patience_ = kFirstPatience;
    return true;
  }
  if (session.is_lost()) return done.status();
  const std::string sqlstate = session.last_sqlstate();
  session.Queue(database_.statements().rollback);
  const absl::Status undone = session.Run(database_.options().answer_timeout).status();
  if (!undone.ok()) return undone;
  // Somebody was at it meanwhile, an operator has set a position back: the next look tells.
  if (sqlstate == kNotAsItWas) return false;
  if (sqlstate != kLockNotAvailable) return done.status();
  if (absl::Status rests = Rest(session); !rests.ok()) return rests;
  patience_ = std::min(patience_ * 2, patience_max_);
  return false;
}

absl::Status BucketUpkeep::Rest(Session& session) {
  const Statements& statements = database_.statements();
  is_at_rest_ = true;
  session.Queue(statements.begin);
  session.Queue(statements.write_unsynced);
  session.Queue(statements.rest,
                std::move(Params().Int8(absl::ToInt64Microseconds(patience_ * kRests))));
  session.Queue(statements.commit);
  return database_.RunAlone(session, "look after ids").status();
}

absl::Status BucketUpkeep::CreateBucket(Session& session, std::int64_t bucket) {
  // Takes no lock that others want. One that was never put to use may be there.
  session.QueueText(absl::StrCat("CREATE TABLE IF NOT EXISTS ", TableOf(bucket), "(LIKE ",
                                 database_.options().schema, ".known_ids, PRIMARY KEY(scope, id))"),
                    "create a bucket");
  return session.Run(database_.options().answer_timeout).status();
}

void BucketUpkeep::QueueAttach(Session& session, std::int64_t bucket) {
  session.QueueText(
      absl::StrCat("ALTER TABLE ", database_.options().schema, ".known_ids ATTACH PARTITION ",
                   TableOf(bucket), " FOR VALUES IN (", bucket, ")"),
      "put a bucket to use");
}

// Every id in it was committed beside a position, whose log time was no less than the id's and is
// among the greatest there ever were; whoever looks for the bucket to write to waits for us.
absl::Status BucketUpkeep::CloseBucket(Session& session, Overview& overview) {
  const Statements& statements = database_.statements();
  const std::int64_t next = overview.current + 1;
  if (is_at_rest_) return absl::OkStatus();
  if (absl::Status created = CreateBucket(session, next); !created.ok()) return created;
  ONCE_KILL_POINT("postgres.bucket_created");
  session.Queue(statements.begin);
  // Whatever is durable behind it makes it durable too, and nobody waits for the disk.
  session.Queue(statements.write_unsynced);
  QueueExclusive(session);
  session.Queue(statements.close_bucket, std::move(Params().Int8(overview.current)));
  QueueAttach(session, next);
  ONCE_KILL_POINT("postgres.before_bucket_closed");
  const auto closed = RunExclusive(session, "close a bucket");
  if (!closed.ok()) return closed.status();
  if (!*closed) return absl::OkStatus();
  ONCE_KILL_POINT("postgres.bucket_closed");
  // The lock is free again: there may be later ones.
  auto now = ReadOverview(session);
  if (!now.ok()) return now.status();
  overview = *std::move(now);
  if (!overview.opened_at_ms) overview.opened_at_ms = overview.greatest_ms;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::int64_t>> BucketUpkeep::FindExpired(Session& session,
                                                                      std::int64_t limit_ms) {
  const auto found =
      Ask(session, database_.statements().find_expired_bucket, std::move(Params().Int8(limit_ms)));
  if (!found.ok()) return found.status();
  if (found->back().rows() == 0) return std::nullopt;
  return found->back().Int(0, 0);
}

absl::StatusOr<BucketUpkeep::Progress> BucketUpkeep::Forget(Session& session,
                                                            const Overview& overview,
                                                            std::int64_t bucket,
                                                            const std::stop_token& stop) {
  if (!sweep_ || sweep_->bucket != bucket) {
    if (absl::Status begun = BeginSweep(session, bucket); !begun.ok()) return begun;
  }
  const auto looked = FindOutliving(session, stop);
  if (!looked.ok() || *looked != Progress::kDone) return looked;
  if (!sweep_->found.empty() && !overview.has_permanent) {
    const auto begun = BeginPermanent(session);
    if (!begun.ok()) return begun.status();
    if (!*begun) return Progress::kLater;
  }
  const auto moved = Move(session, stop);
  if (!moved.ok() || *moved != Progress::kDone) return moved;
  return Drop(session);
}

absl::Status BucketUpkeep::BeginSweep(Session& session, std::int64_t bucket) {
  const auto size = Ask(session, database_.statements().count_bucket_pages,
                        std::move(Params().Bytes(TableOf(bucket))));
  if (!size.ok()) return size.status();
  Sweep sweep;
  sweep.bucket = bucket;
  for (std::int64_t page = 0; page < size->back().Int(0, 0); page += kPagesAtOnce) {
    sweep.pages.push_back(page);
  }
  sweep_ = std::move(sweep);
  return absl::OkStatus();
}

absl::StatusOr<bool> BucketUpkeep::HasOutliving(Session& session, std::int64_t page) {
  const auto found =
      Ask(session, database_.statements().find_outliving,
          std::move(Params().Int8(sweep_->bucket).Int8(page).Int8(page + kPagesAtOnce)));
  if (!found.ok()) return found.status();
  return found->back().Int(0, 0) != 0;
}

absl::StatusOr<BucketUpkeep::Progress> BucketUpkeep::FindOutliving(Session& session,
                                                                   const std::stop_token& stop) {
  Sweep& sweep = *sweep_;
  for (int i = 0; sweep.next < sweep.pages.size(); ++i) {
    if (i == kRangesAtOnce || stop.stop_requested()) return Progress::kMore;
    const std::int64_t page = sweep.pages[sweep.next];
    const auto found = HasOutliving(session, page);
    if (!found.ok()) return found.status();
    if (*found) sweep.found.push_back(page);
    ++sweep.next;
  }
  return Progress::kDone;
}

// Alone, although nothing is in it yet: a look for ids that was planned before it is there would
// not find those that have moved to it since.
absl::StatusOr<bool> BucketUpkeep::BeginPermanent(Session& session) {
  const Statements& statements = database_.statements();
  if (is_at_rest_) return false;
  absl::Status created = CreateBucket(session, kPermanentBucket);
  if (!created.ok()) return created;
  ONCE_KILL_POINT("postgres.permanent_bucket_created");
  session.Queue(statements.begin);
  session.Queue(statements.write_unsynced);
  QueueExclusive(session);
  session.Queue(statements.note_permanent_bucket);
  QueueAttach(session, kPermanentBucket);
  const auto begun = RunExclusive(session, "begin the permanent bucket");
  if (begun.ok() && *begun) ONCE_KILL_POINT("postgres.permanent_bucket_begun");
  return begun;
}

// Those that somebody works on are left to him: they move with what he writes.
absl::StatusOr<bool> BucketUpkeep::MovePages(Session& session, std::int64_t page) {
  const Statements& statements = database_.statements();
  session.Queue(statements.begin);
  session.Queue(statements.write_unsynced);
  session.Queue(statements.share_ids);
  Params pages;
  pages.Int8(sweep_->bucket).Int8(page).Int8(page + kPagesAtOnce).Int8(kMovedAtOnce);
  session.Queue(statements.move_outliving, std::move(pages));
  session.Queue(statements.commit);
  const auto done = database_.RunAlone(session, "move ids that outlive their age");
  if (!done.ok()) return done.status();
  ONCE_KILL_POINT("postgres.bucket_ids_moved");
  return (*done)[3].changed() != "0";
}

absl::StatusOr<BucketUpkeep::Progress> BucketUpkeep::Move(Session& session,
                                                          const std::stop_token& stop) {
  std::vector<std::int64_t>& found = sweep_->found;
  int turns = 0;
  for (std::size_t i = 0; i < found.size(); ++turns) {
    if (turns == kRangesAtOnce || stop.stop_requested()) return Progress::kMore;
    const auto has_moved = MovePages(session, found[i]);
    if (!has_moved.ok()) return has_moved.status();
    const auto has_more = HasOutliving(session, found[i]);
    if (!has_more.ok()) return has_more.status();
    if (!*has_more) {
      found.erase(found.begin() + static_cast<std::ptrdiff_t>(i));
    } else if (!*has_moved) {
      ++i;
    }
  }
  return found.empty() ? Progress::kDone : Progress::kLater;
}

absl::StatusOr<BucketUpkeep::Progress> BucketUpkeep::Drop(Session& session) {
  const Statements& statements = database_.statements();
  if (is_at_rest_) return Progress::kLater;
  session.Queue(statements.begin);
  session.Queue(statements.write_unsynced);  // no standby is waited for with the lock in hand
  QueueExclusive(session);
  session.Queue(statements.forget_bucket,
                std::move(Params().Int8(sweep_->bucket).Int8(retention_ms_)));
  session.QueueText(absl::StrCat("DROP TABLE ", TableOf(sweep_->bucket)), "drop a bucket");
  ONCE_KILL_POINT("postgres.before_bucket_dropped");
  const auto dropped = RunExclusive(session, "drop a bucket");
  if (!dropped.ok()) return dropped.status();
  if (!*dropped) return Progress::kLater;
  ONCE_KILL_POINT("postgres.bucket_dropped");
  sweep_.reset();
  return Progress::kMore;
}

}  // namespace once::postgres
