// The socket first: an owner that answers is the usual case, and asking it disturbs nobody.
#include "src/cli/commands/store_access.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "once/abseil.h"

#ifdef ONCE_HAS_SQLITE
#include "once/sqlite/store.h"
#endif

namespace once::cli {
namespace {

constexpr std::string_view kSqlite = "sqlite:";

// An owner that is just starting or ending, or another command, is gone after this.
constexpr absl::Duration kOwnerPatience = absl::Seconds(3);
constexpr absl::Duration kOwnerPoll = absl::Milliseconds(50);

#ifdef ONCE_HAS_SQLITE

// The file behind `text`, as the owner calls it: the socket lies beside the real file.
absl::StatusOr<std::string> ResolvePath(const std::string& text) {
  const std::string path(absl::StripPrefix(text, ToAbsl(kSqlite)));
  const bool is_other_kind = !absl::StartsWith(text, ToAbsl(kSqlite)) &&
                             text.find(':') != std::string::npos && text.find(':') < text.find('/');
  if (path.empty() || is_other_kind) {
    return absl::InvalidArgumentError(
        absl::StrCat("--store \"", text, "\" is no store; give sqlite:PATH, or the path alone"));
  }
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no store at ", path, "; --store takes the path of an existing one"));
  }
  std::string result = resolved;
  std::free(resolved);
  return result;
}

absl::StatusOr<std::shared_ptr<DedupStore>> OpenClosed(const std::string& path) {
  return sqlite::OpenStore({.path = path, .must_exist = true, .serve_operators = false});
}

absl::StatusOr<StoreAccess> AccessOpened(std::string path, std::shared_ptr<DedupStore> store) {
  StoreOperations* operations = store->operations();
  if (operations == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("the store at ", path, " offers nothing to operators"));
  }
  return StoreAccess{.path = std::move(path), .store = std::move(store), .operations = operations};
}

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

#endif

}  // namespace

#ifdef ONCE_HAS_SQLITE

absl::StatusOr<StoreAccess> ReachStore(const StoreAddress& address, Executor& executor) {
  absl::StatusOr<std::string> path = ResolvePath(address.text);
  if (!path.ok()) return path.status();
  const std::unique_ptr<Event> clock = executor.NewEvent();
  const absl::Time give_up = executor.Now() + std::min(kOwnerPatience, address.timeout);
  while (true) {
    absl::StatusOr<StoreOwner> owner = ConnectToOwner(
        absl::StrCat(*path, ToAbsl(kOperatorSocketSuffix)), {.timeout = address.timeout});
    if (owner.ok()) {
      StoreOperations* operations = owner->operations.get();
      return StoreAccess{.path = *std::move(path),
                         .owner = std::move(owner->operations),
                         .process = owner->process,
                         .operations = operations};
    }
    const bool may_be_closed = absl::IsNotFound(owner.status()) ||
                               absl::IsUnavailable(owner.status()) ||
                               absl::IsPermissionDenied(owner.status());
    if (!may_be_closed) return NoWayIn(*path, owner.status(), owner.status());
    auto store = OpenClosed(*path);
    if (store.ok()) return AccessOpened(*std::move(path), *std::move(store));
    // Locked by somebody, or refused for a reason of its own: the words are the store's.
    if (!absl::IsFailedPrecondition(store.status())) return store.status();
    const bool is_locked = absl::StrContains(store.status().message(), "has it open");
    if (!is_locked) return store.status();
    if (executor.Now() >= give_up) return NoWayIn(*path, owner.status(), store.status());
    clock->WaitUntil(executor.Now() + kOwnerPoll);
  }
}

#else

absl::StatusOr<StoreAccess> ReachStore(const StoreAddress&, Executor&) {
  return absl::InvalidArgumentError(
      "this command was built without the sqlite adapter; install libsqlite3-dev and build again");
}

#endif

}  // namespace once::cli
