// Checks, table by table.
#include "adapters/postgres/verification.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "adapters/postgres/id_rows.h"
#include "adapters/postgres/position_rows.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"
#include "src/stores/rows.h"

namespace once::postgres {
namespace {

// A damaged table has thousands that say the same.
constexpr std::size_t kFindingsMax = 100;
// Some thousand rows a statement, half a megabyte.
constexpr std::int64_t kPagesAtOnce = 64;
constexpr std::int64_t kRowsAtOnce = 1000;

// Empty: nothing is wrong with it. Columns are those of verify_letters.
std::string WrongWithLetter(const Result& letters, int row) {
  const std::int64_t state = letters.Int(row, 2);
  if (state < 0 || state > static_cast<std::int64_t>(stores::OutboxState::kHeld)) {
    return absl::StrCat("unknown state ", state);
  }
  const auto origin = stores::DecodeOrigin(letters.Bytes(row, 1));
  if (!origin.ok()) return origin.status().ToString();
  const bool has_payload = !letters.IsNull(row, 3);
  const auto kind = static_cast<stores::OutboxState>(state);
  const bool is_kept = letters.Int(row, 4) != 0;
  if (!has_payload && (is_kept || kind == stores::OutboxState::kPending)) {
    return "its message is missing";
  }
  if (has_payload) {
    const auto message = stores::DecodeMessage(letters.Bytes(row, 3));
    if (!message.ok()) return message.status().ToString();
  }
  if (letters.Int(row, 5) != 0) return "its scope is not known";
  const bool needs_id = is_kept && kind == stores::OutboxState::kHeld;
  return needs_id && letters.Int(row, 6) == 0 ? "the id that it is held for is not known" : "";
}

}  // namespace

bool Verification::IsToEnd() const {
  return stop_.stop_requested() || findings_.size() >= kFindingsMax;
}

void Verification::Find(std::string finding) {
  if (findings_.size() < kFindingsMax) findings_.push_back(std::move(finding));
}

absl::StatusOr<std::vector<Result>> Verification::Ask(const Statement& statement, Params params) {
  session_.Queue(statement, std::move(params));
  auto results = session_.Run(database_.options().answer_timeout);
  if (!absl::IsDataLoss(results.status())) return results;
  Find(std::string(results.status().message()));
  return std::vector<Result>();
}

absl::StatusOr<std::vector<std::string>> Verification::Run() {
  using Check = absl::Status (Verification::*)();
  for (const Check check :
       {&Verification::CheckScopes, &Verification::CheckBuckets, &Verification::CheckPositions,
        &Verification::CheckIds, &Verification::CheckLetters}) {
    if (IsToEnd()) break;
    if (absl::Status checked = (this->*check)(); !checked.ok()) return checked;
  }
  return std::move(findings_);
}

absl::Status Verification::CheckScopes() {
  const auto read = Ask(database_.statements().list_scopes, {});
  if (!read.ok() || read->empty()) return read.status();
  const Result& rows = read->back();
  for (int row = 0; row < rows.rows(); ++row) {
    scopes_.insert(rows.Int(row, 0));
    if (rows.Int(row, 0) == ScopeNumber(rows.Bytes(row, 1))) continue;
    Find(absl::StrCat("scope \"", absl::CHexEscape(ToAbsl(rows.Bytes(row, 1))),
                      "\" has the number of another one"));
  }
  return absl::OkStatus();
}

// Consumers may have come with others since.
absl::Status Verification::MeetScopes(const Result& ids) {
  bool has_unknown = false;
  for (int row = 0; row < ids.rows(); ++row) {
    has_unknown = has_unknown || !scopes_.contains(ids.Int(row, 0));
  }
  if (!has_unknown) return absl::OkStatus();
  const auto read = Ask(database_.statements().list_scopes, {});
  if (!read.ok() || read->empty()) return read.status();
  for (int row = 0; row < read->back().rows(); ++row) scopes_.insert(read->back().Int(row, 0));
  return absl::OkStatus();
}

absl::Status Verification::CheckBuckets() {
  const auto read = Ask(database_.statements().verify_buckets, {});
  if (!read.ok() || read->empty()) return read.status();
  const Result& rows = read->back();
  for (int row = 0; row < rows.rows(); ++row) {
    Find(absl::StrCat("bucket ", ToAbsl(rows.Bytes(row, 0)), ": ", ToAbsl(rows.Bytes(row, 1))));
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckPositions() {
  const auto read = Ask(database_.statements().list_positions, {});
  if (!read.ok() || read->empty()) return read.status();
  const Result& rows = read->back();
  for (int row = 0; row < rows.rows(); ++row) {
    const absl::StatusOr<StoredPosition> position = PositionAt(rows, row);
    if (!position.ok()) {
      Find(std::string(position.status().message()));
    } else if (position->stamp.position < 0 || position->stamp.revision < 1) {
      Find(absl::StrCat("the position of ", ToString(position->key.partition), " is ",
                        position->stamp.position, " in revision ", position->stamp.revision));
    }
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckIds() {
  const auto read = Ask(database_.statements().list_buckets, {});
  if (!read.ok() || read->empty()) return read.status();
  const Result& buckets = read->back();
  for (int row = 0; row < buckets.rows(); ++row) {
    const std::int64_t pages = buckets.Int(row, 1);
    for (std::int64_t page = 0; page < pages && !IsToEnd(); page += kPagesAtOnce) {
      absl::Status checked = CheckIdsOf(buckets.Int(row, 0), page);
      if (!checked.ok()) return checked;
    }
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckIdsOf(std::int64_t bucket, std::int64_t page) {
  const auto read = Ask(database_.statements().verify_ids,
                        std::move(Params().Int8(bucket).Int8(page).Int8(page + kPagesAtOnce)));
  if (!read.ok() || read->empty()) return read.status();
  const Result& rows = read->back();
  if (absl::Status met = MeetScopes(rows); !met.ok()) return met;
  for (int row = 0; row < rows.rows(); ++row) {
    const auto find = [&](const std::string& wrong) {
      Find(absl::StrCat("id \"", absl::CHexEscape(ToAbsl(rows.Bytes(row, 1))), "\" in bucket ",
                        bucket, ": ", wrong));
    };
    const absl::StatusOr<stores::IdRows> id = IdRowsAt(rows, row, 3);
    if (!id.ok()) find(std::string(id.status().message()));
    if (id.ok() && id->record.attempt < 0) find("its attempt is below zero");
    if (rows.Bytes(row, 1).empty()) find("it has no bytes");
    if (!scopes_.contains(rows.Int(row, 0))) find("its scope is not known");
    const std::int64_t places = rows.Int(row, 2);
    if (places == 0) find("the index does not find it; REINDEX the table");
    if (places > 1) find(absl::StrCat("it is there ", places, " times"));
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckLetters() {
  std::int64_t last = 0;
  for (bool has_more = true; has_more && !IsToEnd();) {
    const auto read = Ask(database_.statements().verify_letters,
                          std::move(Params().Int8(last).Int8(kRowsAtOnce)));
    if (!read.ok() || read->empty()) return read.status();
    const Result& rows = read->back();
    for (int row = 0; row < rows.rows(); ++row) {
      last = rows.Int(row, 0);
      const std::string wrong = WrongWithLetter(rows, row);
      if (!wrong.empty()) Find(absl::StrCat("outbox row ", last, ": ", wrong));
    }
    has_more = rows.rows() == kRowsAtOnce;
  }
  return absl::OkStatus();
}

}  // namespace once::postgres
