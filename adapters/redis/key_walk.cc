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

KeyWalk::KeyWalk(Server& server, std::string pattern)
    : server_(server), pattern_(std::move(pattern)), losses_(server.losses()) {}

absl::StatusOr<std::vector<std::string>> KeyWalk::NextPage() {
  absl::StatusOr<Reply> page =
      server_.Ask({"SCAN", cursor_, "MATCH", pattern_, "COUNT", absl::StrCat(kPageKeys)});
  if (!page.ok()) return page.status();
  if (page->is_error()) return ErrorStatus(page->text, /*is_opening=*/false);
  // Another server's cursor means other keys.
  if (server_.losses() != losses_) {
    return absl::UnavailableError(
        "redis: the server was replaced, or lost something, while its keys were read; again");
  }
  if (page->elements.size() != 2) return absl::InternalError("redis: SCAN answers something else");
  cursor_ = page->elements[0].text;
  is_over_ = cursor_ == "0";
  passed_ += kPageKeys;
  std::vector<std::string> keys;
  for (Reply& key : page->elements[1].elements) keys.push_back(std::move(key.text));
  return keys;
}

}  // namespace once::redis
