// A Verification reads all rows of a store, some thousand at a time, each statement as of a moment
// of its own, beside whoever changes them.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"

namespace once::postgres {

class Verification {
 public:
  // REQUIRES: all outlive it; `session` is outside any transaction.
  Verification(Database& database, Session& session, const std::stop_token& stop)
      : database_(database), session_(session), stop_(stop) {}

  // What is damaged or contradicts itself, a line each; soon after a stop is requested, what was
  // found until then, or an error.
  absl::StatusOr<std::vector<std::string>> Run();

 private:
  absl::Status CheckScopes();
  absl::Status MeetScopes(const Result& ids);
  absl::Status CheckBuckets();
  absl::Status CheckPositions();
  absl::Status CheckIds();
  absl::Status CheckIdsOf(std::int64_t bucket, std::int64_t page);
  absl::Status CheckLetters();

  // Damage that the server finds is a finding, and the answer is empty then.
  absl::StatusOr<std::vector<Result>> Ask(const Statement& statement, Params params);
  void Find(std::string finding);
  bool IsToEnd() const;

  Database& database_;
  Session& session_;
  const std::stop_token& stop_;
  std::set<std::int64_t> scopes_;
  std::vector<std::string> findings_;
};

}  // namespace once::postgres
