// One query.
#include "adapters/postgres/server.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr std::int64_t kVersionMin = 140000;

constexpr const char* kQuery =
    "SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(), "
    "(SELECT system_identifier FROM pg_control_system()), "
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || substr(pg_walfile_name("
    "pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8 END, "
    "pg_backend_pid(), current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_standby_names') <> '', "
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE (pg_current_wal_insert_lsn() - '0/0')::int8 END";

std::string FindWeakness(std::string_view fsync, std::string_view full_page_writes) {
  if (fsync != "on") {
    return "the server's fsync is off: a power failure may destroy its data; set fsync = on";
  }
  if (full_page_writes != "on") {
    return "the server's full_page_writes is off: a power failure may destroy its data; set "
           "full_page_writes = on";
  }
  return {};
}

}  // namespace

absl::StatusOr<Server> AskServer(Session& session, absl::Duration timeout) {
  session.QueueText(kQuery, "ask for the server's settings");
  const auto answer = session.Run(timeout);
  if (!answer.ok()) return answer.status();
  const Result& row = answer->back();
  if (row.Int(0, 0) < kVersionMin) {
    return absl::FailedPreconditionError(absl::StrCat("postgres: the server has version ",
                                                      row.Int(0, 0) / 10000,
                                                      ", the store needs 14; upgrade it"));
  }
  session.set_pid(static_cast<int>(row.Int(0, 4)));
  return Server{.system = row.Int(0, 2),
                .timeline = row.Int(0, 3),
                .is_standby = row.Int(0, 1) != 0,
                .log_end = row.Int(0, 8),
                .has_synced_standbys = row.Int(0, 7) != 0,
                .weakness = FindWeakness(row.Bytes(0, 5), row.Bytes(0, 6))};
}

}  // namespace once::postgres
