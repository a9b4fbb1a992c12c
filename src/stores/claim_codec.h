// A claim as bytes: what a store on the log of ids (src/stores/id_log) keeps with an open row.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "src/stores/claim_rules.h"

namespace once::stores {

std::string EncodeClaim(const ClaimRow& claim);
// kDataLoss for what encoding never produces.
absl::StatusOr<ClaimRow> DecodeClaim(std::string_view bytes);

}  // namespace once::stores
