// Judges a campaign: recomputes from the input topic what must be there, compares it with what the
// systems hold, and looks through the histories for what the end alone does not show. O(n log n) in
// messages and calls. The invariants are those of docs/guarantees.md:
//
//   one effect      at most one committed effect per id
//   one outcome     every message has exactly one of: effect, dead letter, reported conflict
//   acknowledged    no offset was committed to the broker before its outcome was in the store
//   atomic          effect, id, total and dead letter of one transaction are all there or none is
//   published       every dead letter that is owed is in its topic, and no other is
//   order           a transactional handler's effects are committed in the order of their partition
//   attempts        no invocation beyond the attempts that are allowed
//   announced       a plain handler that may repeat itself was told so
//
// It must not miss anything: checker_test.cc shows it each kind of violation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/campaign/truth.h"

namespace once::campaign {

struct Finding {
  std::string what;
  // The message concerned, for the witness; nullopt: a whole partition.
  std::string id;
  std::int32_t partition = 0;
  std::optional<std::int64_t> offset;
};

struct Judgement {
  std::int64_t lost = 0;
  std::int64_t duplicate_effects = 0;
  std::int64_t reruns = 0;       // repeated effects of plain handlers, announced ones included
  std::int64_t republished = 0;  // further copies of dead letters, same id and origin: allowed
  std::int64_t buried = 0;       // ids that end as dead letters, conflicts excluded
  std::int64_t refused = 0;      // calls of former owners that the store refused
  std::int64_t fenced = 0;       // what the consumers themselves say that they lost
  std::int64_t invocations = 0;  // of handlers
  std::vector<Finding> findings;
};

// `histories`: the files of all processes; may be empty.
Judgement Judge(const Truth& truth, const std::vector<std::string>& histories);

// The history of the message of `finding` over all processes, in the order of time, at most
// `lines_max` lines.
std::string FindWitness(const Finding& finding, const std::vector<std::string>& histories,
                        std::size_t lines_max = 40);

}  // namespace once::campaign
