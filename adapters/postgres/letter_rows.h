// Letters as parameters and results. Pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "adapters/postgres/params.h"
#include "adapters/postgres/result.h"
#include "once/outbox.h"
#include "src/stores/rows.h"

namespace once::postgres {

// Parameters of put_outgoing (`has_ordinal`) and hold_letter. `scope`: of the row's id, if it has
// one.
Params OutboxParams(const OutboxRow& row, std::optional<std::int64_t> scope, bool has_ordinal);

// A row of find_letter or find_failures.
absl::StatusOr<stores::KeptLetter> LetterAt(const Result& result, int row,
                                            const stores::LeaseClock& clock);

}  // namespace once::postgres
