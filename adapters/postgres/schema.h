// The store's schema: created and brought up to date by whoever opens it first, under a lock.
// Thread-safety: none needed; runs on a session of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "adapters/postgres/session.h"
#include "once/postgres/store.h"

namespace once::postgres {

// What this code writes. A store of a newer format is left alone.
inline constexpr int kFormat = 5;

struct StoreIdentity {
  std::string store_id;
  std::uint64_t open_count = 0;
};

// `opening` is drawn anew for each opening, so that none ever has the row of another: a store that
// was restored, or that failed over, counts its openings from an earlier number again.
// kNotFound, kFailedPrecondition, kPermissionDenied: see OpenStore().
absl::StatusOr<StoreIdentity> PrepareSchema(Session& session, const StoreOptions& options,
                                            std::int64_t opening, std::string_view where);

}  // namespace once::postgres
