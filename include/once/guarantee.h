// The guarantee is computed from the configuration, never claimed: it comes with the reasons for
// its level and with the assumptions that no library can verify.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "once/dedup_store.h"
#include "once/id_extractor.h"
#include "once/source.h"

namespace once {

// From weak to strong. docs/guarantees.md has the conditions of each.
enum class GuaranteeLevel : std::uint8_t {
  kAtMostOnce,                  // never twice, may lose; explicit opt-in only
  kAtLeastOnce,                 // never lost, may repeat
  kDeduplicated,                // one rerun possible per crash between effect and completion
  kEffectivelyOnce,             // one committed effect per id, as long as the store keeps commits
  kEffectivelyOnceRollbackSafe  // also when the store loses its tail
};

// "effectively-once, survives store rollback" and so on, as docs and metrics spell it.
std::string_view ToString(GuaranteeLevel level);

struct Guarantee {
  GuaranteeLevel level = GuaranteeLevel::kAtLeastOnce;
  // Why it is this level and not the next: "store sqlite: synchronous=NORMAL …; set FULL".
  std::vector<std::string> reasons;
  // What the promise rests on and nobody can check here: stable ids, no effect outside.
  std::vector<std::string> assumptions;
};

enum class HandlerKind : std::uint8_t { kTransactional, kPlain };

struct GuaranteeInputs {
  StoreTraits store;
  const SourceTraits& source;
  const IdExtractor& id;
  bool is_fingerprinted = true;
  bool is_idle_audit_on = true;
  bool has_dead_letters = true;
  HandlerKind handler = HandlerKind::kTransactional;
  // Plain handlers: nothing that may have run is run again (LostClaim::kPark, kReconcile).
  bool is_rerun_excluded = false;
  // A topic keeps records so long that a copy may come after its id was forgotten.
  bool is_retention_short = false;
  // Numbers of outboxes tell messages apart (DedupBy::kSequence).
  bool is_by_sequence = false;
};

// Pure.
Guarantee ComputeGuarantee(const GuaranteeInputs& inputs);

// Several lines for logs and people: level, reasons, assumptions.
std::string Describe(const Guarantee& guarantee);

}  // namespace once
