// BucketUpkeep looks after the buckets of ids: the current one is closed when the log has gone on
// far enough, and one whose ids are all old enough is dropped, once those that outlive their age
// have moved to the permanent one, which is begun when the first of them is to move. Whoever writes
// ids holds a lock shared; beginning, closing and dropping a bucket take it alone, for a moment,
// and give up soon where somebody holds it: who waits for it makes all others wait behind him.
// Several processes may do this for one store: only one of them does at a time.
// Thread-safety: one thread at a time, beside all transactions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/postgres/database.h"

namespace once::postgres {

// Each of them is one more look into an index for every id: beyond these, and the permanent one,
// the current one goes on.
inline constexpr std::int64_t kBucketsMax = 16;

class BucketUpkeep {
 public:
  // REQUIRES: the store has a retention; `database` outlives it.
  explicit BucketUpkeep(Database& database);

  // To be called with each session before the first Look() on it. The server may have come up again
  // without the last of what was moved; and it ends `session` once nothing was asked on it for
  // `hung_after`, so that a process that hangs as it looks after the buckets does not keep others
  // from doing that.
  absl::Status Restart(Session& session, absl::Duration hung_after);
  // Does a bounded part of what there is to do. True: there is more.
  absl::StatusOr<bool> Look(Session& session, const std::stop_token& stop);
  // The log time at which the next look is due; kNoLogTime: nobody can tell.
  std::int64_t due_ms() const { return due_ms_; }

 private:
  // As it was at one moment. Nothing is closed or dropped unless all log times are known.
  struct Overview {
    std::int64_t buckets = 0;    // without the permanent one …
    bool has_permanent = false;  // … where there is one
    std::int64_t current = 0;
    std::optional<std::int64_t> opened_at_ms;  // log time
    bool is_known = false;
    std::int64_t greatest_ms = -1;  // that any partition's log time ever was; -1: there is none
    std::int64_t lowest_ms = 0;
  };
  // What is known of a bucket that is old enough to go. Nothing is ever written into it: pages in
  // which nothing that outlives its age was found have none as long as the server is up.
  struct Sweep {
    std::int64_t bucket = 0;
    std::vector<std::int64_t> pages;  // the first ones of ranges that are to be read …
    std::size_t next = 0;             // … from here on
    std::vector<std::int64_t> found;  // ranges with ids that outlive their age
  };

  enum class Progress : std::uint8_t {
    kDone,
    kMore,   // it may go on at once
    kLater,  // others are at work on what is in the way
  };

  absl::StatusOr<Progress> Tend(Session& session, const std::stop_token& stop);
  absl::StatusOr<Overview> ReadOverview(Session& session);
  // A table that no row comes into yet.
  absl::Status CreateBucket(Session& session, std::int64_t bucket);
  absl::Status CloseBucket(Session& session, Overview& overview);
  // The oldest bucket that is old enough.
  absl::StatusOr<std::optional<std::int64_t>> FindExpired(Session& session, std::int64_t limit_ms);
  absl::StatusOr<Progress> Forget(Session& session, const Overview& overview, std::int64_t bucket,
                                  const std::stop_token& stop);
  absl::Status BeginSweep(Session& session, std::int64_t bucket);
  absl::StatusOr<Progress> FindOutliving(Session& session, const std::stop_token& stop);
  absl::StatusOr<bool> HasOutliving(Session& session, std::int64_t page);
  // False: others hold the lock.
  absl::StatusOr<bool> BeginPermanent(Session& session);
  absl::StatusOr<Progress> Move(Session& session, const std::stop_token& stop);
  // True: some have moved.
  absl::StatusOr<bool> MovePages(Session& session, std::int64_t page);
  absl::StatusOr<Progress> Drop(Session& session);

  absl::StatusOr<std::vector<Result>> Ask(Session& session, const Statement& statement,
                                          Params params);
  void QueueExclusive(Session& session);
  void QueueAttach(Session& session, std::int64_t bucket);
  // What is queued, behind QueueExclusive(), and its commit. False: others held the lock, or have
  // changed what it was to be done with.
  absl::StatusOr<bool> RunExclusive(Session& session, std::string_view operation);
  // Keeps everybody from waiting for the lock for some time.
  absl::Status Rest(Session& session);
  std::string TableOf(std::int64_t bucket) const;

  Database& database_;
  const std::int64_t retention_ms_;
  const std::int64_t span_ms_;  // of log time in one bucket
  const absl::Duration patience_max_;
  absl::Duration patience_;
  // Nobody is to wait for the lock for a while, whichever process it was that did.
  bool is_at_rest_ = false;
  std::int64_t due_ms_;
  std::optional<Sweep> sweep_;
};

}  // namespace once::postgres
