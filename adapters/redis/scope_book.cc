// A set in the server, and what of it is known to be there.
#include "adapters/redis/scope_book.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/keys.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr std::chrono::seconds kPause(10);

}  // namespace

ScopeBook::ScopeBook(Cluster& cluster, const std::string& key_prefix)
    : cluster_(cluster), key_(KeyNames(key_prefix).OfScopes()), changes_(cluster.changes()) {}

absl::Status ScopeBook::Note(std::string_view scope) {
  if (scope.size() > kNotedScopeBytesMax) return absl::OkStatus();
  const std::uint64_t changes = cluster_.changes();
  bool is_stale = false;
  {
    const std::lock_guard lock(mutex_);
    if (changes != changes_) {
      if (stale_.size() >= kNotedScopesMax) stale_.clear();
      stale_.merge(std::exchange(noted_, {}));
    }
    changes_ = changes;
    if (noted_.contains(scope) || noted_.size() >= kNotedScopesMax) return absl::OkStatus();
    is_stale = stale_.contains(scope);
    if (is_stale && std::chrono::steady_clock::now() < next_try_) return absl::OkStatus();
  }
  const ScriptCall call{.key = key_,
                        .arguments = {std::string(scope), absl::StrCat(kNotedScopesMax)}};
  const auto replies = cluster_.Run(ScriptName::kNoteScope, {&call, 1});
  const std::lock_guard lock(mutex_);
  if (!replies.ok()) {
    next_try_ = std::chrono::steady_clock::now() + kPause;
    return is_stale ? absl::OkStatus() : replies.status();
  }
  if (changes == changes_) noted_.emplace(scope);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ScopeBook::Read() {
  const KeyedCommand command{.key = key_, .bytes = Encode({"SMEMBERS", key_})};
  auto replies = cluster_.ReadEach({&command, 1});
  if (!replies.ok()) return replies.status();
  Reply& members = replies->front();
  if (members.is_error()) return ErrorStatus(members.text, /*is_opening=*/false);
  std::vector<std::string> scopes;
  for (Reply& member : members.elements) scopes.push_back(std::move(member.text));
  return scopes;
}

}  // namespace once::redis
