// Columns in the order of SelectLetters() in statements_outbox.cc.
#include "adapters/postgres/letter_rows.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/id_rows.h"
#include "src/stores/outbox_codec.h"

namespace once::postgres {
namespace {

enum Column : int {
  kNumber,
  kOrigin,
  kState,
  kPayload,
  kReason,
  kScope,
  kId,
  kRedrives,
  kIdRow,
};

}  // namespace

Params OutboxParams(const OutboxRow& row, std::optional<std::int64_t> scope, bool has_ordinal) {
  Params params;
  params.Bytes(stores::EncodeOrigin(row.origin)).Bytes(stores::EncodeMessage(row.message));
  if (scope) {
    params.Int8(*scope).Bytes(row.id);
  } else {
    params.Null().Null();
  }
  if (has_ordinal) params.Int4(row.origin.ordinal);
  return params;
}

absl::StatusOr<stores::KeptLetter> LetterAt(const Result& result, int row,
                                            const stores::LeaseClock& clock) {
  stores::KeptLetter kept;
  StoredFailure& failure = kept.failure;
  failure.number = result.Int(row, kNumber);
  absl::StatusOr<OutboxOrigin> origin = stores::DecodeOrigin(result.Bytes(row, kOrigin));
  absl::StatusOr<OutgoingMessage> letter = stores::DecodeMessage(result.Bytes(row, kPayload));
  if (!origin.ok() || !letter.ok()) {
    return absl::DataLossError(absl::StrCat("postgres: row ", failure.number,
                                            " of table outbox is damaged; restore a backup"));
  }
  failure.origin = *std::move(origin);
  failure.letter = *std::move(letter);
  failure.scope = std::string(result.Bytes(row, kScope));
  failure.id = std::string(result.Bytes(row, kId));
  const auto state = static_cast<stores::OutboxState>(result.Int(row, kState));
  failure.is_published = state == stores::OutboxState::kPublished;
  if (state == stores::OutboxState::kParked) {
    failure.parked_reason = std::string(result.Bytes(row, kReason));
  }
  failure.redrives = static_cast<int>(result.Int(row, kRedrives));
  absl::StatusOr<stores::IdRows> rows = IdRowsAt(result, row, kIdRow);
  if (!rows.ok()) return rows.status();
  kept.rows = *std::move(rows);
  failure.state = stores::VisibleRecord(kept.rows, clock).state;
  return kept;
}

}  // namespace once::postgres
