// A mark in the session, and a second connection that may be given the same one.
#include "adapters/postgres/pooler.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

// A pool that has nothing left while the second connection is in a transaction.
constexpr absl::Duration kPatience = absl::Seconds(5);

constexpr int kLooks = 3;

struct Seen {
  std::string mark;
  std::int64_t pid = 0;
};

// The last of what is queued: a mark, and the process of the server.
absl::StatusOr<Seen> Look(Session& session, absl::Duration timeout) {
  const auto results = session.Run(std::min(timeout, kPatience));
  if (!results.ok()) return results.status();
  const Result& row = results->back();
  return Seen{.mark = std::string(row.Bytes(0, 0)), .pid = row.Int(0, 1)};
}

constexpr const char* kLook =
    "SELECT coalesce(current_setting('once.mark', true), ''), pg_backend_pid()";
constexpr const char* kOperation = "look at the pooler";

}  // namespace

absl::Status CheckPooler(Session& session, const ConnectionSettings& settings,
                         std::string_view where, std::string_view mark, absl::Duration timeout) {
  const std::string what =
      absl::StrCat("postgres: open ", ToAbsl(where), ": a pooler stands in front of the server");
  session.QueueText("SELECT current_setting('plan_cache_mode'), 0", kOperation);
  const absl::StatusOr<Seen> mode = Look(session, timeout);
  if (!mode.ok()) return mode.status();
  if (mode->mark != "force_custom_plan") {
    return absl::FailedPreconditionError(
        absl::StrCat(what,
                     " and drops the settings that a connection begins with (PgBouncer's "
                     "ignore_startup_parameters), so that nothing would bound how long a lock is "
                     "waited for; connect to the server itself"));
  }
  session.QueueText(
      absl::StrCat("SELECT set_config('once.mark', '", ToAbsl(mark), "', false), pg_backend_pid()"),
      kOperation);
  const absl::StatusOr<Seen> before = Look(session, timeout);
  if (!before.ok()) return before.status();
  auto other = Session::Connect(settings, where);
  if (!other.ok()) return other.status();
  (*other)->QueueText("BEGIN", kOperation);
  (*other)->QueueText(kLook, kOperation);
  const absl::StatusOr<Seen> beside = Look(**other, timeout);
  if (!beside.ok()) return beside.status();
  bool is_kept = beside->mark != mark && beside->pid != before->pid;
  // Beside the other one's transaction, and behind it: whichever session a pool takes next, the one
  // that came free last or the one that has been free for longest, is another one in one of these.
  for (int look = 0; look < kLooks && is_kept; ++look) {
    session.QueueText(kLook, kOperation);
    const absl::StatusOr<Seen> after = Look(session, timeout);
    if (!after.ok()) return after.status();
    is_kept = after->mark == mark && after->pid == before->pid;
    if (look > 0) continue;
    (*other)->QueueText("COMMIT", kOperation);
    if (absl::Status ended = (*other)->Run(timeout).status(); !ended.ok()) return ended;
  }
  if (is_kept) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what,
                   " and gives its sessions to whoever has a transaction to run (PgBouncer's "
                   "pool_mode = transaction): locks, settings and prepared statements would be "
                   "those of others; connect to the server itself, or through a pool that keeps a "
                   "session for a connection (pool_mode = session)"));
}

}  // namespace once::postgres
