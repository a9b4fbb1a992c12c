// SCAN, page by page.
// Source: https://redis.io/docs/latest/commands/scan
#include "adapters/redis/key_walk.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"

namespace once::redis {
namespace {

// Passed by one SCAN.
constexpr std::int64_t kPageKeys = 500;

}  // namespace

KeyWalk::KeyWalk(Cluster& cluster, std::string pattern)
    : cluster_(cluster),
      pattern_(std::move(pattern)),
      changes_(cluster.changes()),
      servers_(cluster.Servers()) {}

absl::StatusOr<std::vector<std::string>> KeyWalk::NextPage() {
  absl::StatusOr<Reply> page =
      servers_[at_]->Ask({"SCAN", cursor_, "MATCH", pattern_, "COUNT", absl::StrCat(kPageKeys)});
  if (!page.ok()) return page.status();
  if (page->is_error()) return ErrorStatus(page->text, /*is_opening=*/false);
  if (page->elements.size() != 2) return absl::InternalError("redis: SCAN answers something else");
  cursor_ = page->elements[0].text;
  if (cursor_ == "0") ++at_;
  passed_ += kPageKeys;
  if (is_over()) {
    absl::Status looked = cluster_.LookForChanges();
    if (!looked.ok()) return looked;
  }
  // Another server's cursor means other keys.
  if (cluster_.changes() != changes_) {
    return absl::UnavailableError(
        "redis: a server was replaced, or lost something, or slots have moved while keys were "
        "read; again");
  }
  std::vector<std::string> keys;
  for (Reply& key : page->elements[1].elements) keys.push_back(std::move(key.text));
  return keys;
}

}  // namespace once::redis
