// The socket first: an owner that answers is the usual case, and asking it disturbs nobody. A store
// on a server has no owner: it is opened beside whoever else has it open.
#include "src/cli/commands/store_access.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

#ifdef ONCE_HAS_POSTGRES
#include "once/postgres/store.h"
#endif
#ifdef ONCE_HAS_REDIS
#include "once/redis/spool.h"
#include "once/redis/store.h"
#include "src/cli/commands/spool_operations.h"
#endif
#ifdef ONCE_HAS_ROCKSDB
#include "once/rocksdb/store.h"
#endif
#ifdef ONCE_HAS_SQLITE
#include "once/sqlite/store.h"
#endif

namespace once::cli {
namespace {

// An owner that is just starting or ending, or another command, is gone after this.
constexpr absl::Duration kOwnerPatience = absl::Seconds(3);
constexpr absl::Duration kOwnerPoll = absl::Milliseconds(50);

using OpenFunction = absl::StatusOr<std::shared_ptr<DedupStore>> (*)(const std::string& path);

// A store on the local file system, which one process has open and serves to operators.
struct StoreKind {
  std::string_view scheme;   // "sqlite:" before the path
  std::string_view package;  // what a build without it lacks
  mode_t type = 0;           // what its path is: S_IFREG or S_IFDIR
  OpenFunction open = nullptr;
};

#ifdef ONCE_HAS_SQLITE
absl::StatusOr<std::shared_ptr<DedupStore>> OpenSqlite(const std::string& path) {
  return sqlite::OpenStore({.path = path, .must_exist = true, .serve_operators = false});
}
#else
constexpr OpenFunction OpenSqlite = nullptr;
#endif

#ifdef ONCE_HAS_ROCKSDB
absl::StatusOr<std::shared_ptr<DedupStore>> OpenRocksdb(const std::string& path) {
  return rocksdb::OpenStore({.path = path, .must_exist = true, .serve_operators = false});
}
#else
constexpr OpenFunction OpenRocksdb = nullptr;
#endif

constexpr std::array kKinds = {
    StoreKind{"sqlite:", "libsqlite3-dev", S_IFREG, OpenSqlite},
    StoreKind{"rocksdb:", "librocksdb-dev", S_IFDIR, OpenRocksdb},
};

struct StorePlace {
  const StoreKind* kind = nullptr;
  std::string path;  // as the owner calls it: the socket lies beside the real one
};

absl::StatusOr<StorePlace> FindPlace(const std::string& text) {
  StorePlace place{.kind = nullptr, .path = text};
  for (const StoreKind& kind : kKinds) {
    if (!absl::StartsWith(text, ToAbsl(kind.scheme))) continue;
    place = {.kind = &kind, .path = text.substr(kind.scheme.size())};
  }
  const std::size_t colon = text.find(':');
  const bool is_other_kind =
      place.kind == nullptr && colon != std::string::npos && colon < text.find('/');
  if (place.path.empty() || is_other_kind) {
    return absl::InvalidArgumentError(
        absl::StrCat("--store \"", text,
                     "\" is no store; give sqlite:PATH, rocksdb:PATH, the path alone, "
                     "postgresql://HOST/DATABASE, redis://HOST or, of a shared spool, "
                     "spool+redis://HOST"));
  }
  char* resolved = ::realpath(place.path.c_str(), nullptr);
  struct stat there = {};
  const bool exists = resolved != nullptr && ::stat(resolved, &there) == 0;
  if (exists) place.path = resolved;
  std::free(resolved);
  if (!exists) {
    return absl::NotFoundError(absl::StrCat("there is no store at ", place.path,
                                            "; --store takes the path of an existing one"));
  }
  // A path alone: a file is a database of SQLite, a folder one of RocksDB.
  for (const StoreKind& kind : kKinds) {
    if (place.kind == nullptr && (there.st_mode & S_IFMT) == kind.type) place.kind = &kind;
  }
  if (place.kind == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--store ", place.path, " is neither a file nor a folder"));
  }
  if (place.kind->open != nullptr) return place;
  return absl::InvalidArgumentError(absl::StrCat("this command was built without stores of ",
                                                 ToAbsl(place.kind->scheme), " install ",
                                                 ToAbsl(place.kind->package), " and build again"));
}

absl::StatusOr<StoreAccess> AccessOpened(std::string path, std::shared_ptr<DedupStore> store) {
  StoreOperations* operations = store->operations();
  if (operations == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("the store at ", path, " offers nothing to operators"));
  }
  StoreMaintenance* maintenance = store->maintenance();
  TransactionalStore* transactions = store->transactions();
  OutgoingOperations* outgoing = transactions == nullptr ? nullptr : transactions->outgoing();
  return StoreAccess{.path = std::move(path),
                     .store = std::move(store),
                     .operations = operations,
                     .maintenance = maintenance,
                     .outgoing = outgoing};
}

bool IsPostgres(const std::string& text) {
  return absl::StartsWith(text, "postgresql://") || absl::StartsWith(text, "postgres://");
}

bool IsRedis(const std::string& text) {
  return absl::StartsWith(text, "redis:") || absl::StartsWith(text, "rediss:") ||
         absl::StartsWith(text, "unix:");
}

#if defined(ONCE_HAS_POSTGRES) || defined(ONCE_HAS_REDIS)
// For messages: without the password, which may be in front of the host or a parameter.
std::string WithoutPassword(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t login = scheme == std::string::npos ? url.find(':') + 1 : scheme + 3;
  const std::string schema = url.substr(std::min(url.find('#'), url.size()));
  const std::string place = url.substr(0, url.find_first_of("?#"));
  const std::size_t host = place.rfind('@');
  const std::size_t colon = place.find(':', login);
  if (host == std::string::npos || colon == std::string::npos || colon > host) {
    return absl::StrCat(place, schema);
  }
  return absl::StrCat(place.substr(0, colon), place.substr(host), schema);
}

absl::StatusOr<StoreAccess> AccessServer(const std::string& url,
                                         absl::StatusOr<std::shared_ptr<DedupStore>> store) {
  if (!store.ok()) return store.status();
  auto access = AccessOpened(WithoutPassword(url), *std::move(store));
  if (access.ok()) access->is_server = true;
  return access;
}
#endif

#ifdef ONCE_HAS_POSTGRES
// "postgresql://billing@db/billing#schema", as libpq takes it but for the schema.
absl::StatusOr<StoreAccess> ReachPostgres(const std::string& text) {
  const std::size_t hash = text.find('#');
  // A command ends nobody's session: it cannot know how long a consumer's handler may take.
  postgres::StoreOptions options{.connection = text.substr(0, hash),
                                 .must_exist = true,
                                 .may_migrate = false,
                                 .hung_after = absl::InfiniteDuration()};
  if (hash != std::string::npos) options.schema = text.substr(hash + 1);
  return AccessServer(text, postgres::OpenStore(std::move(options)));
}
#else
absl::StatusOr<StoreAccess> ReachPostgres(const std::string&) {
  return absl::InvalidArgumentError(
      "this command was built without stores of PostgreSQL; install libpq-dev and build again");
}
#endif

#ifdef ONCE_HAS_REDIS
// "rediss://clerk@cache:6380/0#prefix:", as the adapter takes it but for the key_prefix. Whoever
// calls a command shows its words to everybody on the machine, so the password may come from where
// redis-cli takes it.
absl::StatusOr<StoreAccess> ReachRedis(const StoreAddress& address) {
  const std::size_t hash = address.text.find('#');
  // An operator's words rest on no guarantee of the server's: neither its policy nor how it syncs
  // needs to be known.
  redis::StoreOptions options{
      .url = address.text.substr(0, hash),
      .call_timeout = std::clamp(address.timeout, absl::Milliseconds(10), absl::Minutes(1)),
      .must_exist = true,
      .accept_eviction = true,
      .appendfsync = redis::AppendFsync::kNever};
  if (hash != std::string::npos) options.key_prefix = address.text.substr(hash + 1);
  if (const char* const password = std::getenv("REDISCLI_AUTH")) options.password = password;
  return AccessServer(address.text, redis::OpenStore(std::move(options)));
}
#else
absl::StatusOr<StoreAccess> ReachRedis(const StoreAddress&) {
  return absl::InvalidArgumentError(
      "this command was built without stores of Redis; install libhiredis-dev and build again");
}
#endif

constexpr std::string_view kSpoolScheme = "spool+";

#ifdef ONCE_HAS_REDIS
// "spool+rediss://clerk@cache:6380/0#prefix:", as a store of Redis behind the plus.
absl::StatusOr<StoreAccess> ReachSpool(const StoreAddress& address) {
  const std::string text = address.text.substr(kSpoolScheme.size());
  const std::size_t hash = text.find('#');
  redis::SpoolLogOptions options{
      .server = {
          .url = text.substr(0, hash),
          .call_timeout = std::clamp(address.timeout, absl::Milliseconds(10), absl::Minutes(1)),
          .must_exist = true,
          .appendfsync = redis::AppendFsync::kNever}};
  if (hash != std::string::npos) options.key_prefix = text.substr(hash + 1);
  if (const char* const password = std::getenv("REDISCLI_AUTH")) {
    options.server.password = password;
  }
  auto spool = redis::OpenSpoolLog(std::move(options));
  if (!spool.ok()) return spool.status();
  OutgoingOperations* const outgoing = &(*spool)->outgoing();
  auto operations = std::make_unique<SpoolOperations>();
  StoreOperations* const offered = operations.get();
  return StoreAccess{.path = WithoutPassword(text),
                     .spool = *std::move(spool),
                     .refusals = std::move(operations),
                     .operations = offered,
                     .outgoing = outgoing,
                     .is_server = true};
}
#else
absl::StatusOr<StoreAccess> ReachSpool(const StoreAddress& address) { return ReachRedis(address); }
#endif

// What to say when the store is locked and its owner is not to be reached.
absl::Status NoWayIn(const std::string& path, const absl::Status& owner,
                     const absl::Status& opened) {
  const std::string way_out =
      "stop that process and run the command again on the closed store; a process that opens the "
      "store with serve_operators = true (the default) answers while it runs";
  if (absl::IsPermissionDenied(owner)) return owner;
  if (absl::IsNotFound(owner)) {
    return absl::UnavailableError(absl::StrCat(opened.message(), " (it has no socket ", path,
                                               ToAbsl(kOperatorSocketSuffix), "); ", way_out));
  }
  return absl::UnavailableError(absl::StrCat(owner.message(), "; ", way_out));
}

}  // namespace

absl::StatusOr<StoreAccess> ReachStore(const StoreAddress& address, Executor& executor) {
  if (IsPostgres(address.text)) return ReachPostgres(address.text);
  if (IsRedis(address.text)) return ReachRedis(address);
  if (absl::StartsWith(address.text, ToAbsl(kSpoolScheme))) return ReachSpool(address);
  absl::StatusOr<StorePlace> place = FindPlace(address.text);
  if (!place.ok()) return place.status();
  std::string& path = place->path;
  const std::unique_ptr<Event> clock = executor.NewEvent();
  const absl::Time give_up = executor.Now() + std::min(kOwnerPatience, address.timeout);
  while (true) {
    absl::StatusOr<StoreOwner> owner = ConnectToOwner(
        absl::StrCat(path, ToAbsl(kOperatorSocketSuffix)), {.timeout = address.timeout});
    if (owner.ok()) {
      StoreOperations* operations = owner->operations.get();
      StoreMaintenance* maintenance = owner->maintenance.get();
      OutgoingOperations* outgoing = owner->outgoing.get();
      return StoreAccess{.path = std::move(path),
                         .owner = std::move(owner->operations),
                         .owner_maintenance = std::move(owner->maintenance),
                         .owner_outgoing = std::move(owner->outgoing),
                         .process = owner->process,
                         .operations = operations,
                         .maintenance = maintenance,
                         .outgoing = outgoing};
    }
    const bool may_be_closed = absl::IsNotFound(owner.status()) ||
                               absl::IsUnavailable(owner.status()) ||
                               absl::IsPermissionDenied(owner.status());
    if (!may_be_closed) return NoWayIn(path, owner.status(), owner.status());
    auto store = place->kind->open(path);
    if (store.ok()) return AccessOpened(std::move(path), *std::move(store));
    // Locked by somebody, or refused for a reason of its own: the words are the store's.
    if (!absl::IsFailedPrecondition(store.status())) return store.status();
    const bool is_locked = absl::StrContains(store.status().message(), "has it open");
    if (!is_locked) return store.status();
    if (executor.Now() >= give_up) return NoWayIn(path, owner.status(), store.status());
    clock->WaitUntil(executor.Now() + kOwnerPoll);
  }
}

}  // namespace once::cli
