// What an operator may decide about the ids of a Redis claim store. It has no positions and keeps
// no letters: what needs them answers kUnimplemented, and says where they are instead.
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/scope_book.h"
#include "once/operations.h"
#include "once/redis/store.h"

namespace once::redis {

class RedisOperations final : public StoreOperations {
 public:
  // REQUIRES: `cluster` outlives it.
  RedisOperations(Cluster& cluster, const StoreOptions& options);

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override;
  absl::Status OrderPosition(const PositionOrder& order) override;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override;
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override;
  absl::Status DropLetter(std::int64_t number) override;

  // Under the scopes that are noted. Where none of them knows the id, all keys of the servers are
  // looked through, at most kSearchedKeysMax: kResourceExhausted beyond.
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override;

  // Of a request without a letter (number 0) only: the id may be handled again. Its message comes
  // from the dead-letter topic.
  absl::Status Redrive(const RedriveRequest& request) override;
  absl::Status Discard(const IdKey& key) override;
  absl::Status Resolve(const IdKey& key) override;

 private:
  ScriptCall CallOf(const std::string& key) const;
  // Those of `keys` that somebody knows something of.
  absl::StatusOr<std::vector<FoundId>> Look(const std::vector<std::string>& keys);
  absl::StatusOr<std::vector<FoundId>> Search(const std::string& id);
  absl::Status Decide(std::string_view operation, const IdKey& key, IdState to,
                      const std::vector<IdState>& permitted);

  Cluster& cluster_;
  const KeyNames keys_;
  ScopeBook scopes_;
  const std::string retention_;  // milliseconds; "0": for ever
  const std::function<absl::Duration()> clock_skew_;
};

// Keys of the servers that a search for one id passes.
inline constexpr std::int64_t kSearchedKeysMax = 10'000'000;

}  // namespace once::redis
