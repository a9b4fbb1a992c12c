// A set in the server, and what of it is known to be there.
#include "adapters/redis/scope_book.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/keys.h"
#include "once/abseil.h"

namespace once::redis {

ScopeBook::ScopeBook(Cluster& cluster, const std::string& key_prefix)
    : cluster_(cluster), key_(KeyNames(key_prefix).OfScopes()), changes_(cluster.changes()) {}

absl::Status ScopeBook::Note(std::string_view scope) {
  if (scope.size() > kNotedScopeBytesMax) return absl::OkStatus();
  const std::uint64_t changes = cluster_.changes();
  {
    const std::lock_guard lock(mutex_);
    if (changes != changes_) noted_.clear();
    changes_ = changes;
    if (noted_.contains(scope) || noted_.size() >= kNotedScopesMax) return absl::OkStatus();
  }
  const ScriptCall call{.key = key_,
                        .arguments = {std::string(scope), absl::StrCat(kNotedScopesMax)}};
  const auto replies = cluster_.Run(ScriptName::kNoteScope, {&call, 1});
  if (!replies.ok()) return replies.status();
  const std::lock_guard lock(mutex_);
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
