// The guarantee level, computed from what is configured.
#include "once/guarantee.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"

namespace once {
namespace {

std::string StoreReason(const StoreTraits& store, std::string_view consequence) {
  std::string text = "store " + store.name + ": ";
  text.append(consequence);
  if (!store.weakness.empty()) text.append(" (").append(store.weakness).append(")");
  return text;
}

// Plain handlers: ids are safe, the effect is somewhere else.
GuaranteeLevel PlainLevelOf(const GuaranteeInputs& inputs, std::vector<std::string>& reasons) {
  reasons.emplace_back(
      "the handler's effect is not in the store's transaction: a claim guards each id, and a crash "
      "between effect and completion leaves one message whose effect may have happened");
  reasons.emplace_back(
      inputs.is_rerun_excluded
          ? "such a message is not run again by itself: it is parked as uncertain, "
            "or reconciled (claims.on_lost)"
          : "such a message is run again and sees maybe_repeated(); set "
            "claims.on_lost to park or reconcile it instead");
  switch (inputs.store.durability) {
    case Durability::kNothing:
      reasons.push_back(StoreReason(inputs.store, "does not keep ids"));
      return GuaranteeLevel::kAtLeastOnce;
    case Durability::kProcess:
      reasons.push_back(StoreReason(
          inputs.store, "may lose its last completions with the machine; they are run again"));
      return GuaranteeLevel::kDeduplicated;
    case Durability::kMachine:
      reasons.push_back(StoreReason(inputs.store, "a synced completion survives power loss"));
      break;
  }
  return GuaranteeLevel::kDeduplicated;
}

// The level that the store's durability and the source's ability to replay permit.
GuaranteeLevel LevelOf(const GuaranteeInputs& inputs, std::vector<std::string>& reasons) {
  reasons.emplace_back(
      "effect, id and position commit in one transaction; "
      "acknowledged only after that commit");
  switch (inputs.store.durability) {
    case Durability::kNothing:
      reasons.push_back(StoreReason(inputs.store, "does not keep ids, effects and positions"));
      return GuaranteeLevel::kAtLeastOnce;
    case Durability::kProcess:
      // Replayed like any rollback; the level says that somebody chose to need it.
      reasons.push_back(StoreReason(
          inputs.store, "may lose its last commits with the machine; they are replayed"));
      return inputs.source.can_replay && inputs.is_idle_audit_on ? GuaranteeLevel::kEffectivelyOnce
                                                                 : GuaranteeLevel::kAtLeastOnce;
    case Durability::kMachine:
      reasons.push_back(StoreReason(inputs.store, "an acknowledged commit survives power loss"));
      break;
  }
  if (!inputs.source.can_replay) {
    reasons.push_back("source " + inputs.source.name +
                      ": cannot be read again, so the store must never lose a commit (C7)");
    return inputs.store.durability == Durability::kMachine ? GuaranteeLevel::kEffectivelyOnce
                                                           : GuaranteeLevel::kAtLeastOnce;
  }
  if (!inputs.is_idle_audit_on) {
    reasons.emplace_back(
        "times.idle_audit is off: a rolled-back store is noticed only with the "
        "next message; set an interval");
    return inputs.store.durability == Durability::kMachine ? GuaranteeLevel::kEffectivelyOnce
                                                           : GuaranteeLevel::kAtLeastOnce;
  }
  reasons.emplace_back(
      "the store is the authority on the position, compared and set strictly, "
      "with an idle audit: a store that loses its tail is replayed");
  return GuaranteeLevel::kEffectivelyOnceRollbackSafe;
}

}  // namespace

std::string_view ToString(GuaranteeLevel level) {
  switch (level) {
    case GuaranteeLevel::kAtMostOnce:
      return "at-most-once";
    case GuaranteeLevel::kAtLeastOnce:
      return "at-least-once";
    case GuaranteeLevel::kDeduplicated:
      return "deduplicated";
    case GuaranteeLevel::kEffectivelyOnce:
      return "effectively-once";
    case GuaranteeLevel::kEffectivelyOnceRollbackSafe:
      return "effectively-once, survives store rollback";
  }
  return "unknown";
}

Guarantee ComputeGuarantee(const GuaranteeInputs& inputs) {
  Guarantee guarantee;
  const bool is_plain = inputs.handler == HandlerKind::kPlain;
  guarantee.level =
      is_plain ? PlainLevelOf(inputs, guarantee.reasons) : LevelOf(inputs, guarantee.reasons);
  if (inputs.id.identifies_delivery()) {
    guarantee.reasons.emplace_back(
        "id " + inputs.id.name() +
        ": may tell deliveries apart rather than messages; a producer's resend is handled again");
    guarantee.level = std::min(guarantee.level, GuaranteeLevel::kAtLeastOnce);
  }
  if (inputs.is_retention_short) {
    guarantee.reasons.push_back("store " + inputs.store.name + ": forgets ids after " +
                                absl::FormatDuration(inputs.store.retention) +
                                ", and a topic keeps records so long that a copy may come later, "
                                "or does not say how long; raise the store's retention");
    guarantee.level = std::min(guarantee.level, GuaranteeLevel::kAtLeastOnce);
  }
  if (!inputs.is_fingerprinted) {
    guarantee.reasons.emplace_back(
        "fingerprints are off: two messages under one id are taken for one, unnoticed");
  }
  if (!inputs.has_dead_letters) {
    guarantee.reasons.emplace_back(
        "no dead letters: a message that fails for good stops its partition; set dead_letters");
  }
  guarantee.assumptions = {
      "C1: producers put the same " + inputs.id.name() +
          " on every resend of a message, and "
          "different ones on different messages",
      inputs.store.retention == absl::InfiniteDuration()
          ? "C4: ids are kept for ever, which covers every redelivery"
          : "C4: no copy comes later than " + absl::FormatDuration(inputs.store.retention) +
                " after its message was settled: one that does is handled again",
      is_plain ? "C7: the store never loses a completion: a message whose completion is lost is "
                 "handled again"
               : "C6: the handler has no effect outside its transaction",
      "the handler reports every failure: one that is swallowed has settled the message",
  };
  if (inputs.is_by_sequence) {
    guarantee.assumptions.emplace_back(
        "messages with a number of their producer's outbox are told apart by it, for ever: one "
        "that "
        "the producer's application publishes twice is two messages, whatever its id");
  }
  if (is_plain) return guarantee;
  guarantee.assumptions.emplace_back(
      inputs.store.id.empty()
          ? "the store is not restored to before its first commit on a partition: it has no id, so "
            "without a row there the broker's committed offset decides where to begin"
          : "only consumers of this kind commit the group's offsets: these name the store, and a "
            "tool that commits others hides that a store was replaced or has lost its rows");
  return guarantee;
}

std::string Describe(const Guarantee& guarantee) {
  std::string text(ToString(guarantee.level));
  for (const std::string& reason : guarantee.reasons) text.append("\n  because ").append(reason);
  for (const std::string& assumption : guarantee.assumptions) {
    text.append("\n  assuming ").append(assumption);
  }
  return text;
}

}  // namespace once
