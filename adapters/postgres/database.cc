// Sessions: leased, given back, connected again.
#include "adapters/postgres/database.h"

#include <algorithm>
#include <bit>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/pooler.h"
#include "adapters/postgres/position_rows.h"
#include "adapters/postgres/refusal.h"
#include "adapters/postgres/settings.h"
#include "adapters/postgres/status.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr absl::Duration kRefusalPatience = absl::Seconds(2);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
constexpr std::size_t kScopesMax = 10'000;

std::uint64_t NewIncarnation() {
  std::random_device random;
  return std::uint64_t{random()} << 32 | random();
}

// At opening a human waits for the answer, and no retry mends what these say. 28: the login is
// refused, 42501: the database is not for this role, 3D000: there is no such database.
absl::Status AtOpening(const absl::Status& failure, std::string_view sqlstate) {
  if (sqlstate.starts_with("28") || sqlstate == "42501") {
    return absl::PermissionDeniedError(failure.message());
  }
  if (sqlstate == "3D000") return absl::NotFoundError(failure.message());
  return failure;
}

}  // namespace

Database::Database(StoreOptions options)
    : options_(std::move(options)),
      statements_(options_),
      incarnation_(NewIncarnation()),
      // The server cuts names after 63 bytes: the number, by which ours are known, must not go.
      session_name_(
          absl::StrCat("once:", options_.schema.substr(0, 40), ":", absl::Hex(incarnation_))) {}

absl::StatusOr<std::shared_ptr<Database>> Database::Open(StoreOptions options) {
  if (absl::Status check = CheckOptions(options); !check.ok()) return check;
  std::shared_ptr<Database> database(new Database(std::move(options)));
  auto settings = SettingsFor(database->options_, database->session_name_);
  if (!settings.ok()) return settings.status();
  database->settings_ = *std::move(settings);
  database->where_ = Whereabouts(database->settings_, database->options_.schema);
  auto session = Session::Connect(database->settings_, database->where_);
  if (!session.ok()) {
    const absl::Duration patience = std::min(database->options_.connect_timeout, kRefusalPatience);
    return AtOpening(session.status(), FindRefusal(database->settings_, patience));
  }
  const int told_pid = (*session)->pid();
  auto server = AskServer(**session, database->options_.answer_timeout);
  if (!server.ok()) return server.status();
  if ((*session)->pid() != told_pid) {
    absl::Status fit = CheckPooler(**session, database->settings_, database->where_,
                                   database->session_name_, database->options_.answer_timeout);
    if (!fit.ok()) return fit;
  }
  if (server->is_standby) {
    return absl::UnavailableError(absl::StrCat("postgres: open ", database->where_,
                                               ": the server is a standby; name its primary too"));
  }
  auto identity =
      PrepareSchema(**session, database->options_,
                    std::bit_cast<std::int64_t>(database->incarnation_), database->where_);
  if (!identity.ok()) return identity.status();
  database->identity_ = *std::move(identity);
  database->server_ = *std::move(server);
  database->pids_.insert((*session)->pid());
  database->idle_.push_back(*std::move(session));
  return database;
}

absl::StatusOr<Database::Lease> Database::Acquire(std::string_view operation) {
  std::unique_lock lock(mutex_);
  const bool is_free = given_back_.wait_for(lock, absl::ToChronoNanoseconds(options_.lock_timeout),
                                            [&] { return leased_ < options_.connections_max; });
  if (!is_free) {
    return absl::UnavailableError(absl::StrCat(
        "postgres: ", ToAbsl(operation), " ", where_, ": all ", options_.connections_max,
        " connections are at work; raise StoreOptions::connections_max"));
  }
  ++leased_;
  while (!idle_.empty()) {
    std::unique_ptr<Session> session = std::move(idle_.back());
    idle_.pop_back();
    if (session->IsAlive()) return Lease(session.release(), Returner{shared_from_this()});
    pids_.erase(session->pid());
  }
  lock.unlock();
  absl::StatusOr<std::unique_ptr<Session>> session = Connect();
  lock.lock();
  if (session.ok()) {
    pids_.insert((*session)->pid());
    return Lease(session->release(), Returner{shared_from_this()});
  }
  --leased_;
  given_back_.notify_one();
  return Annotate(session.status(), operation);
}

void Database::GiveBack(Session* session) {
  std::unique_ptr<Session> owned(session);
  owned->DropQueued();
  if (!owned->is_lost() && !owned->is_idle()) {
    owned->Queue(statements_.rollback);
    // A session that cannot even do this is lost, and the server undoes its transaction.
    owned->Run(options_.answer_timeout).status().IgnoreError();
  }
  const bool is_idle = !owned->is_lost() && owned->is_idle();
  if (is_idle && owned->is_handlers()) owned->SendAside(statements_.cleaning);
  const bool is_of_use = is_idle && !owned->is_lost();
  const std::lock_guard lock(mutex_);
  --leased_;
  if (is_of_use) {
    idle_.push_back(std::move(owned));
  } else {
    pids_.erase(owned->pid());
  }
  given_back_.notify_one();
}

bool Database::MayConnect() {
  const std::lock_guard lock(mutex_);
  return SteadyNow() >= next_attempt_;
}

void Database::NoteConnecting(const absl::Status& connected) {
  const std::lock_guard lock(mutex_);
  last_failure_ = connected;
  if (connected.ok()) {
    failed_attempts_ = 0;
    next_attempt_ = SteadyTime::min();
    return;
  }
  const absl::Duration pause = kFirstPause * (1 << std::min(failed_attempts_++, 10));
  next_attempt_ = SteadyNow() + absl::ToChronoNanoseconds(std::min(pause, kLongestPause));
}

absl::StatusOr<std::unique_ptr<Session>> Database::Connect() {
  if (!MayConnect()) {
    const std::lock_guard lock(mutex_);
    return last_failure_;
  }
  auto session = Session::Connect(settings_, where_);
  absl::Status connected = session.status();
  if (connected.ok()) connected = Recognise(**session);
  NoteConnecting(connected);
  if (!connected.ok()) return connected;
  return session;
}

absl::Status Database::Recognise(Session& session) {
  const absl::StatusOr<Server> server = AskServer(session, options_.answer_timeout);
  if (!server.ok()) return server.status();
  if (server->is_standby) {
    return absl::UnavailableError(
        absl::StrCat("postgres: connect ", where_, ": the server is a standby"));
  }
  session.QueueText(
      absl::StrCat("SELECT value FROM ", options_.schema, ".meta WHERE key = 'store'"),
      "read the identity");
  const auto identity = session.Run(options_.answer_timeout);
  const bool is_missing = session.last_sqlstate() == "42P01";
  if (!identity.ok() && !is_missing) return identity.status();
  if (is_missing || identity->back().rows() != 1 ||
      identity->back().Bytes(0, 0) != identity_.store_id) {
    return absl::DataLossError(
        absl::StrCat("postgres: connect ", where_,
                     ": the store that was opened here is no longer behind this "
                     "address; restore it, or start anew on the one that is there"));
  }
  if (absl::Status words = RecogniseWords(session); !words.ok()) return words;
  const std::lock_guard lock(mutex_);
  const Server former = *server_;
  server_ = *server;
  // A setting that is right again makes nothing of what was committed meanwhile more durable.
  if (server_->weakness.empty()) server_->weakness = former.weakness;
  server_->has_synced_standbys = server_->has_synced_standbys && former.has_synced_standbys;
  // Rows of scopes whose commit was not synced may be gone with the server that had them.
  known_scopes_.clear();
  if (loss_of_server_.empty()) loss_of_server_ = FindLoss(former, *server);
  synced_log_ = server->log_end;
  return absl::OkStatus();
}

std::string Database::FindLoss(const Server& former, const Server& server) const {
  if (former.system == server.system && former.timeline == server.timeline) {
    if (server.log_end >= synced_log_) return {};
    return "the server's data are those of an earlier moment: what was committed after it is lost; "
           "open the store anew once you have looked";
  }
  if (former.has_synced_standbys) return {};
  return absl::StrCat("the server failed over since the store was opened (timeline ",
                      former.timeline, " to ", server.timeline,
                      ") and no standby was synchronous: its last commits may be lost; set "
                      "synchronous_standby_names, and open the store anew once you have looked");
}

StoreTraits Database::traits() const {
  const std::lock_guard lock(mutex_);
  StoreTraits traits{.name = "postgres",
                     .durability = Durability::kMachine,
                     .weakness = server_->weakness.empty() ? loss_of_server_ : server_->weakness,
                     .is_shared = true,
                     .id = identity_.store_id,
                     .open_count = identity_.open_count,
                     .retention = options_.retention};
  if (!traits.weakness.empty()) traits.durability = Durability::kProcess;
  return traits;
}

stores::LeaseClock Database::ClockAt(std::int64_t micros) const {
  const absl::Duration skew = options_.clock_skew ? options_.clock_skew() : absl::ZeroDuration();
  return {
      .incarnation = incarnation_, .now = absl::FromUnixMicros(micros) + skew, .is_shared = true};
}

bool Database::IsKnownScope(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return known_scopes_.contains(ToAbsl(name));
}

void Database::NoteScopes(const std::vector<std::string>& names) {
  const std::lock_guard lock(mutex_);
  if (known_scopes_.size() + names.size() > kScopesMax) known_scopes_.clear();
  known_scopes_.insert(names.begin(), names.end());
}

}  // namespace once::postgres
