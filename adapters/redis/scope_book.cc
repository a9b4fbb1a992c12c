// A set in the server, and what of it is known to be there.
#include "adapters/redis/scope_book.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/keys.h"
#include "once/abseil.h"

namespace once::redis {

ScopeBook::ScopeBook(Server& server, const std::string& key_prefix)
    : server_(server), key_(KeyNames(key_prefix).OfScopes()), losses_(server.losses()) {}

absl::Status ScopeBook::Note(std::string_view scope) {
  if (scope.size() > kNotedScopeBytesMax) return absl::OkStatus();
  const std::uint64_t losses = server_.losses();
  {
    const std::lock_guard lock(mutex_);
    if (losses != losses_) noted_.clear();
    losses_ = losses;
    if (noted_.contains(scope) || noted_.size() >= kNotedScopesMax) return absl::OkStatus();
  }
  const ScriptCall call{.key = key_,
                        .arguments = {std::string(scope), absl::StrCat(kNotedScopesMax)}};
  const auto replies = server_.Run(ScriptName::kNoteScope, {&call, 1});
  if (!replies.ok()) return replies.status();
  const std::lock_guard lock(mutex_);
  if (losses == losses_) noted_.emplace(scope);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ScopeBook::Read() {
  absl::StatusOr<Reply> members = server_.Ask({"SMEMBERS", key_});
  if (!members.ok()) return members.status();
  if (members->is_error()) return ErrorStatus(members->text, /*is_opening=*/false);
  std::vector<std::string> scopes;
  for (Reply& member : members->elements) scopes.push_back(std::move(member.text));
  return scopes;
}

}  // namespace once::redis
