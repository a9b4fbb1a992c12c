// One table from SQLSTATE to ours: whole classes first named by their two characters.
#include "adapters/postgres/status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

struct Meaning {
  std::string_view sqlstate;  // a prefix; the first that fits counts
  absl::StatusCode code;
  std::string_view way_out = {};
};

constexpr Meaning kMeanings[] = {
    {"57014", absl::StatusCode::kDeadlineExceeded, "the statement took too long"},
    {"53400", absl::StatusCode::kResourceExhausted},
    {"53100", absl::StatusCode::kResourceExhausted, "make space, no restart is needed"},
    {"53", absl::StatusCode::kUnavailable},
    {"55P03", absl::StatusCode::kUnavailable, "another transaction holds it; try again"},
    {"40", absl::StatusCode::kAborted, "another transaction was in the way; try again"},
    {"08", absl::StatusCode::kUnavailable},
    {"57", absl::StatusCode::kUnavailable},
    {"58", absl::StatusCode::kUnavailable},
    {"25006", absl::StatusCode::kUnavailable, "the server is a standby; connect to the primary"},
    {"25P03", absl::StatusCode::kUnavailable,
     "nothing was asked for longer than StoreOptions::idle_in_transaction_timeout"},
    {"25", absl::StatusCode::kFailedPrecondition},
    {"28", absl::StatusCode::kUnavailable, "check the login"},
    {"42501", absl::StatusCode::kPermissionDenied, "grant the right that is missing"},
    {"23505", absl::StatusCode::kAlreadyExists},
    {"23", absl::StatusCode::kFailedPrecondition},
    {"22", absl::StatusCode::kInvalidArgument},
    {"42", absl::StatusCode::kInvalidArgument},
    {"0A", absl::StatusCode::kInvalidArgument},
    {"P0", absl::StatusCode::kFailedPrecondition},  // RAISE EXCEPTION of a function
    {"XX001", absl::StatusCode::kDataLoss, "restore a backup"},
    {"XX002", absl::StatusCode::kDataLoss, "restore a backup"},
};

}  // namespace

absl::Status StatusOf(std::string_view sqlstate, std::string_view message, std::string_view what) {
  Meaning meaning{.sqlstate = {}, .code = absl::StatusCode::kInternal};
  if (sqlstate.empty()) meaning.code = absl::StatusCode::kUnavailable;
  for (const Meaning& one : kMeanings) {
    if (!sqlstate.starts_with(one.sqlstate)) continue;
    meaning = one;
    break;
  }
  std::string text =
      absl::StrCat("postgres: ", ToAbsl(what), ": ", absl::StripAsciiWhitespace(ToAbsl(message)));
  if (!sqlstate.empty()) absl::StrAppend(&text, " (SQLSTATE ", ToAbsl(sqlstate), ")");
  if (!meaning.way_out.empty()) absl::StrAppend(&text, "; ", ToAbsl(meaning.way_out));
  return absl::Status(meaning.code, text);
}

bool IsOfTheStore(std::string_view sqlstate) {
  if (sqlstate.empty()) return true;
  // What the same statement would meet again and again is the statement's.
  if (sqlstate == "57014" || sqlstate == "53400") return false;
  constexpr std::string_view kClasses[] = {"08", "25P03", "40",    "53",
                                           "57", "58030", "XX001", "XX002"};
  return std::any_of(std::begin(kClasses), std::end(kClasses),
                     [&](std::string_view one) { return sqlstate.starts_with(one); });
}

}  // namespace once::postgres
