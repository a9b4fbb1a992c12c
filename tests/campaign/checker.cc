// The end state, by joins over ids and origins; and witnesses.
#include "tests/campaign/checker.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "tests/campaign/history.h"
#include "tests/campaign/history_judge.h"
#include "tests/campaign/workload.h"

namespace once::campaign {
namespace {

// What is known of one id.
struct IdFacts {
  const Delivery* first = nullptr;
  bool has_conflict = false;  // its deliveries have different values
  std::int64_t effects = 0;
  std::int64_t untold = 0;    // effects that were not announced as a possible repetition
  std::uint64_t applied = 0;  // the value of the effect
  std::int64_t letters = 0;   // distinct origins, conflicts excluded
};

using Origin = std::pair<std::int32_t, std::int64_t>;

class StateJudge {
 public:
  StateJudge(const Truth& truth, Judgement& judgement) : truth_(truth), judgement_(judgement) {}

  void Run() {
    IndexDeliveries();
    CountEffects();
    JudgeOrder();
    CountLetters();
    for (const auto& [id, facts] : ids_) JudgeId(id, facts);
    for (const Delivery& delivery : truth_.deliveries) JudgeDelivery(delivery);
    JudgeTotals();
    JudgePartitions();
    if (truth_.outbox_pending > 0) {
      Find(absl::StrCat("published: ", truth_.outbox_pending,
                        " dead letters are in the outbox and not in their topic"));
    }
  }

 private:
  bool is_plain() const { return truth_.handler == HandlerKind::kPlain; }

  void Find(std::string what) { judgement_.findings.push_back({.what = std::move(what)}); }
  void Find(std::string what, const Delivery& at) {
    absl::StrAppend(&what, ": ", at.id.empty() ? "a message without id" : at.id, " at partition ",
                    at.partition, " offset ", at.offset);
    judgement_.findings.push_back(
        {.what = std::move(what), .id = at.id, .partition = at.partition, .offset = at.offset});
  }

  const Delivery* DeliveryAt(std::int32_t partition, std::int64_t offset) const {
    const auto found = by_partition_.find(partition);
    if (found == by_partition_.end()) return nullptr;
    const auto at = std::lower_bound(
        found->second.begin(), found->second.end(), offset,
        [](const Delivery* delivery, std::int64_t wanted) { return delivery->offset < wanted; });
    return at == found->second.end() || (*at)->offset != offset ? nullptr : *at;
  }

  void IndexDeliveries() {
    ids_.reserve(truth_.deliveries.size());
    for (const Delivery& delivery : truth_.deliveries) {
      by_partition_[delivery.partition].push_back(&delivery);
      if (delivery.id.empty()) continue;
      IdFacts& facts = ids_[delivery.id];
      if (facts.first == nullptr) facts.first = &delivery;
      facts.has_conflict = facts.has_conflict || facts.first->value != delivery.value;
    }
  }

  void CountEffects() {
    for (const Effect& effect : truth_.effects) {
      const Delivery* delivery = DeliveryAt(effect.partition, effect.offset);
      if (delivery == nullptr || delivery->id != effect.id || delivery->value != effect.value) {
        Find("one outcome: an effect that no message of the topic has",
             {.partition = effect.partition, .offset = effect.offset, .id = effect.id});
        continue;
      }
      IdFacts& facts = ids_[effect.id];
      facts.untold += effect.is_announced ? 0 : 1;
      if (++facts.effects == 1) {
        facts.applied = effect.value;
        continue;
      }
      ++judgement_.reruns;
      // The one that is not told may be the last: of an owner who was succeeded in mid-handler.
      const bool is_allowed = is_plain() && facts.applied == effect.value &&
                              (facts.untold <= 1 || !truth_.is_store_durable);
      if (is_allowed) continue;
      ++judgement_.duplicate_effects;
      Find(is_plain() ? "announced: an effect was repeated, and the handler was not told"
                      : "one effect: a second effect",
           *delivery);
    }
  }

  // Effects are in the order of their commits. Of a failed message everything waits behind it.
  void JudgeOrder() {
    if (is_plain()) return;
    std::map<std::int32_t, std::int64_t> last;
    for (const Effect& effect : truth_.effects) {
      const auto [at, is_first] = last.try_emplace(effect.partition, effect.offset);
      if (!is_first && effect.offset < at->second) {
        Find(absl::StrCat("order: an effect after that of offset ", at->second),
             {.partition = effect.partition, .offset = effect.offset, .id = effect.id});
      }
      at->second = std::max(at->second, effect.offset);
    }
  }

  void CountLetters() {
    for (const Letter& letter : truth_.letters) {
      const Delivery* delivery = DeliveryAt(letter.partition, letter.offset);
      if (delivery == nullptr || delivery->id != letter.id) {
        Find("published: a dead letter that no message of the topic has",
             {.partition = letter.partition, .offset = letter.offset, .id = letter.id});
        continue;
      }
      if (letter.value != delivery->value) {
        Find("published: a dead letter with another value than its message", *delivery);
      }
      const auto [at, is_new] =
          letters_.try_emplace(Origin(letter.partition, letter.offset), letter.disposition);
      if (!is_new) {
        ++judgement_.republished;
        if (at->second != letter.disposition) {
          Find("one outcome: two dead letters that differ", *delivery);
        }
        continue;
      }
      if (!letter.id.empty() && letter.disposition != "conflict") {
        IdFacts& facts = ids_[letter.id];
        ++facts.letters;
        const std::string owed = delivery->kind == 'r' ? "rejected" : "retries-exhausted";
        if (!IsBuried(delivery->kind) || letter.disposition != owed) {
          Find(absl::StrCat("published: a dead letter \"", letter.disposition, "\" not owed"),
               *delivery);
        }
      }
    }
  }

  void JudgeId(const std::string& id, const IdFacts& facts) {
    const bool is_buried = IsBuried(facts.first->kind);
    judgement_.buried += is_buried ? 1 : 0;
    const bool is_skipped = facts.first->kind == 's';
    const std::int64_t letters = is_buried && truth_.has_letters ? 1 : 0;
    const bool has_effect = is_buried ? truth_.is_redriven : !is_skipped;
    if (facts.letters < letters) Lose("one outcome: no dead letter", *facts.first);
    if (facts.letters > letters && letters > 0 && truth_.is_rolled_back) {
      judgement_.republished += facts.letters - letters;
    } else if (facts.letters > letters) {
      Find("one outcome: more than one dead letter", *facts.first);
    }
    if (has_effect && facts.effects == 0) Lose("one outcome: no effect", *facts.first);
    if (!has_effect && facts.effects > 0) {
      ++judgement_.duplicate_effects;
      Find("atomic: the effect of an attempt that failed", *facts.first);
    }
    if (!truth_.is_store_durable) return;
    const auto found = truth_.ids.find(id);
    const IdState state = found == truth_.ids.end() ? IdState::kAbsent : found->second;
    const IdState wanted = has_effect   ? IdState::kCompleted
                           : is_skipped ? IdState::kDiscarded
                                        : IdState::kDead;
    // Where nobody owes a letter, the caller was told, and an id that was dying may stay so.
    const bool is_as_good =
        !truth_.has_letters && wanted == IdState::kDead && state == IdState::kDying;
    if (state != wanted && !is_as_good) {
      Find(absl::StrCat("atomic: the store's record of the id is in state ",
                        static_cast<int>(state), ", not ", static_cast<int>(wanted)),
           *facts.first);
    }
  }

  // What is owed to this very delivery, whatever became of its id.
  void JudgeDelivery(const Delivery& delivery) {
    const auto letter = letters_.find(Origin(delivery.partition, delivery.offset));
    const std::string disposition = letter == letters_.end() ? "" : letter->second;
    if (delivery.id.empty()) {
      if (disposition != "no-id") Lose("one outcome: no dead letter", delivery);
      return;
    }
    const IdFacts& facts = ids_[delivery.id];
    const bool is_conflict =
        facts.has_conflict && facts.effects > 0 && facts.applied != delivery.value;
    if (is_conflict && disposition != "conflict") {
      Lose("one outcome: a conflict was not reported", delivery);
    } else if (!is_conflict && disposition == "conflict") {
      Find("published: a conflict was reported where there is none", delivery);
    }
  }

  void Lose(const char* what, const Delivery& delivery) {
    ++judgement_.lost;
    Find(what, delivery);
  }

  void JudgeTotals() {
    if (is_plain()) return;
    std::map<std::int32_t, EffectTotal> totals;
    for (const Effect& effect : truth_.effects) {
      EffectTotal& total = totals[effect.partition];
      ++total.count;
      total.sum += effect.value;
    }
    if (totals != truth_.totals) Find("atomic: the totals are not those of the effects");
  }

  void JudgePartitions() {
    for (const auto& [number, partition] : truth_.partitions) {
      const auto find = [&](const std::string& what) {
        judgement_.findings.push_back(
            {.what = absl::StrCat(what, ", partition ", number), .partition = number});
      };
      if (!is_plain() && partition.position != partition.end) {
        find(absl::StrCat("one outcome: the position is ", partition.position.value_or(-1),
                          ", the end of the log ", partition.end));
      }
      const std::int64_t settled = is_plain() ? partition.end : partition.position.value_or(0);
      if (partition.committed.value_or(0) > settled) {
        find(absl::StrCat("acknowledged: offset ", *partition.committed, " is committed, and ",
                          settled, " is settled"));
      }
    }
  }

  const Truth& truth_;
  Judgement& judgement_;
  std::unordered_map<std::string, IdFacts> ids_;
  std::map<std::int32_t, std::vector<const Delivery*>> by_partition_;
  std::map<Origin, std::string> letters_;  // dispositions
};

bool Concerns(const HistoryEvent& event, const Finding& finding) {
  if (!event.details.is_object()) return false;
  const auto contains = [&](const char* list, const nlohmann::json& wanted) {
    if (!event.details.contains(list)) return false;
    const auto& items = event.details.at(list);
    return std::find(items.begin(), items.end(), wanted) != items.end();
  };
  if (!finding.id.empty() && contains("ids", finding.id)) return true;
  if (!finding.offset) {
    const auto at = event.details.value("at", nlohmann::json::array());
    return std::any_of(at.begin(), at.end(),
                       [&](const auto& one) { return one.at(0) == finding.partition; });
  }
  const nlohmann::json origin = {finding.partition, *finding.offset};
  if (contains("at", origin) || contains("letters", origin)) return true;
  const auto runs = event.details.value("runs", nlohmann::json::array());
  return std::any_of(runs.begin(), runs.end(), [&](const auto& run) {
    return run.at(0) == finding.partition && run.at(1) <= *finding.offset &&
           *finding.offset <= run.at(2);
  });
}

}  // namespace

Judgement Judge(const Truth& truth, const std::vector<std::string>& histories) {
  Judgement judgement;
  StateJudge(truth, judgement).Run();
  JudgeHistories(truth, histories, judgement);
  return judgement;
}

std::string FindWitness(const Finding& finding, const std::vector<std::string>& histories,
                        std::size_t lines_max) {
  std::vector<std::pair<std::int64_t, std::string>> lines;
  std::set<std::pair<std::int64_t, std::int64_t>> calls;
  ReadHistory(histories, [&](const HistoryEvent& event) {
    const bool is_end = calls.contains({event.process, event.of});
    if (!is_end && !Concerns(event, finding)) return;
    if (event.how == "invoke") calls.emplace(event.process, event.sequence);
    lines.emplace_back(event.time, event.line.substr(0, 400));
  });
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const std::size_t left_out = lines.size() - std::min(lines.size(), lines_max);
  lines.resize(lines.size() - left_out);
  std::string witness = absl::StrJoin(lines, "\n", [](std::string* out, const auto& line) {
    absl::StrAppend(out, "    ", line.second);
  });
  if (left_out > 0) absl::StrAppend(&witness, "\n    and ", left_out, " more lines");
  return witness;
}

}  // namespace once::campaign
