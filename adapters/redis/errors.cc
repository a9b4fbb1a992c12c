// The table of error replies.
// Source: https://redis.io/docs/reference/protocol-spec and the server's own texts.
#include "adapters/redis/errors.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

struct Meaning {
  std::string_view word;
  absl::StatusCode code;
  std::string_view way_out;
};

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
constexpr std::string_view kRights =
    "check user, password and rights (ACL): the store needs its keys, @scripting, @read, @write, "
    "info and, unless StoreOptions::appendfsync says it, config|get; in a cluster cluster|slots "
    "and "
    "asking too";

constexpr std::array kMeanings = {
    Meaning{"OOM", absl::StatusCode::kResourceExhausted,
            "raise the server's maxmemory, or shorten the store's retention"},
    Meaning{"LOADING", kUnavailable, "the server reads its data; wait"},
    Meaning{"READONLY", kUnavailable, "it is a replica; name the master in the URL"},
    Meaning{"MASTERDOWN", kUnavailable, "it is a replica; name the master in the URL"},
    Meaning{"MISCONF", kUnavailable, "the server cannot write its files; see its log"},
    Meaning{"BUSY", kUnavailable, "somebody's script has been running for too long"},
    Meaning{"TRYAGAIN", kUnavailable, "the cluster is moving slots; wait"},
    Meaning{
        "CLUSTERDOWN", kUnavailable,
        "the cluster has no master for some slots: start it, or promote its replica; the others "
        "serve meanwhile with cluster-require-full-coverage no"},
    Meaning{"NOREPLICAS", kUnavailable, "min-replicas-to-write is not met"},
    Meaning{"NOSCRIPT", kUnavailable, "the script is gone right after it was loaded; again"},
    Meaning{"MOVED", kUnavailable, "the nodes of the cluster do not agree who owns it; wait"},
    Meaning{"ASK", kUnavailable, "the nodes of the cluster do not agree who owns it; wait"},
    Meaning{"HALFWRITTEN", absl::StatusCode::kUnknown,
            "the server failed in the middle of what it was told; mend that, and look at what is "
            "there"},
    Meaning{"WRONGTYPE", absl::StatusCode::kDataLoss,
            "somebody else has written the store's keys; give the store a key_prefix of its own"},
};

constexpr std::array<std::string_view, 4> kLoginWords = {"NOAUTH", "WRONGPASS", "NOPERM", "DENIED"};

absl::Status StatusOf(absl::StatusCode code, std::string_view error, std::string_view way_out) {
  return absl::Status(code, absl::StrCat("redis: ", ToAbsl(error), "; ", ToAbsl(way_out)));
}

}  // namespace

std::string_view ErrorWord(std::string_view error) { return error.substr(0, error.find(' ')); }

absl::Status ErrorStatus(std::string_view error, bool is_opening) {
  const std::string_view word = ErrorWord(error);
  for (const Meaning& meaning : kMeanings) {
    if (meaning.word == word) return StatusOf(meaning.code, error, meaning.way_out);
  }
  for (const std::string_view login : kLoginWords) {
    if (login == word) {
      return StatusOf(is_opening ? absl::StatusCode::kPermissionDenied : kUnavailable, error,
                      kRights);
    }
  }
  constexpr std::string_view kNoDatabases = "ERR SELECT is not allowed in cluster";
  if (is_opening && error.starts_with(kNoDatabases)) {
    return StatusOf(absl::StatusCode::kInvalidArgument, error,
                    "a cluster has database 0 only: leave the number out of the URL, and use a "
                    "key_prefix of its own");
  }
  // "ERR AUTH <password> called without any password configured …", and the like.
  constexpr std::string_view kNoPassword = "ERR AUTH";
  if (is_opening && error.starts_with(kNoPassword)) {
    return StatusOf(absl::StatusCode::kPermissionDenied, error, kRights);
  }
  return StatusOf(absl::StatusCode::kInternal, error, "the server refuses what the store says");
}

}  // namespace once::redis
