// Each rule next to the event at which it is judged; what became of the messages of the log is in
// outcome_invariants.cc.
#include "once/testing/invariants.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/header_text.h"

namespace once::testing {
namespace {

// In the order of Check.
constexpr std::string_view kCheckNames[] = {"one-effect",     "one-outcome",   "acknowledged",
                                            "atomic",         "watermark",     "published",
                                            "drained",        "right-outcome", "read-after-unknown",
                                            "expected-stamp", "fenced-effect", "order",
                                            "handled-again",  "claim-states",  "begun",
                                            "attempts",       "identity",      "gap-reported",
                                            "losses",         "numbers",       "told",
                                            "misuse",         "ends"};
static_assert(std::size(kCheckNames) == kCheckCount);

std::string Show(const PositionStamp& stamp) {
  return absl::StrCat("position ", stamp.position, " revision ", stamp.revision, " writer ",
                      absl::Hex(stamp.writer & 0xFFFFu));
}

}  // namespace

std::string_view ToString(Check check) { return kCheckNames[static_cast<std::size_t>(check)]; }

void InvariantChecker::Watch(FiberScheduler& scheduler, const FakeLog& log) {
  scheduler_ = &scheduler;
  log_ = &log;
  claims_.Watch(log);
  queue_.Watch(log);
  const auto partitions = static_cast<std::size_t>(log.options().partitions);
  before_.assign(partitions, 0);
  furthest_.assign(partitions, 0);
  durable_.assign(partitions, 0);
  first_.assign(partitions, 0);
}

void InvariantChecker::OnRecreated() {
  std::fill(furthest_.begin(), furthest_.end(), 0);
  std::fill(durable_.begin(), durable_.end(), 0);
  claims_.OnRecreated();
}

void InvariantChecker::OnNewStore() {
  effect_counts_.clear();
  for (std::size_t i = 0; i < first_.size(); ++i) first_[i] = log_->end(static_cast<int>(i));
}

void InvariantChecker::Fail(Check check, std::string what, int partition, std::string id) {
  const auto& ignored = options_.ignored;
  if (std::find(ignored.begin(), ignored.end(), check) != ignored.end()) return;
  if (violation_.has_value()) return;
  Record("checker", absl::StrCat("VIOLATION of ", ToAbsl(ToString(check)), ": ", what));
  violation_ = {
      .check = check, .what = std::move(what), .partition = partition, .id = std::move(id)};
  if (scheduler_ != nullptr) scheduler_->Stop();
}

void InvariantChecker::Record(std::string_view who, std::string what, int partition,
                              std::string id) {
  if (!options_.is_recording) return;
  history_.push_back({.time = scheduler_ == nullptr ? absl::UnixEpoch() : scheduler_->Now(),
                      .who = std::string(who),
                      .what = std::move(what),
                      .partition = partition,
                      .id = std::move(id)});
}

std::string InvariantChecker::IdOf(const LogRecord& record) {
  return HeaderText(record.headers, "id");
}

std::string InvariantChecker::KeyOf(const std::string& id) const {
  return EncodeIdKey({.scope = options_.scope, .id = id});
}

void InvariantChecker::OnTake(const Process& process, const PartitionKey& key,
                              const PositionStamp& current, const absl::Status& known) {
  const int partition = key.partition.partition;
  if (options_.is_recording) {
    Record(process.name(), absl::StrCat("take → ", known.ok() ? Show(current) : known.ToString()),
           partition);
  }
  Knowledge& knowledge = knowledge_[{process.number(), partition}];
  knowledge.is_unknown = known.code() == absl::StatusCode::kUnknown;
  if (knowledge.is_unknown) knowledge.stamp.reset();
  if (!known.ok()) return;
  if (knowledge.writer == current.writer) {
    Fail(Check::kExpectedStamp,
         absl::StrCat(process.name(), " takes a row again with the tag that it had"), partition);
  }
  knowledge.stamp = current;
  knowledge.writer = current.writer;
}

void InvariantChecker::OnBegin(const Process& process, std::span<const PositionLock> locks) {
  for (const PositionLock& lock : locks) {
    const int partition = lock.key.partition.partition;
    if (options_.is_recording) {
      Record(process.name(), absl::StrCat("begin, expecting ", Show(lock.expected)), partition);
    }
    const Knowledge& knowledge = knowledge_[{process.number(), partition}];
    if (knowledge.is_unknown) {
      Fail(Check::kReadAfterUnknown,
           absl::StrCat(process.name(), " begins on partition ", partition,
                        " although it does not know how its last commit there ended"),
           partition);
    } else if (knowledge.stamp != lock.expected) {
      Fail(Check::kExpectedStamp,
           absl::StrCat(process.name(), " expects ", Show(lock.expected), " in partition ",
                        partition, " but it last took or committed ",
                        knowledge.stamp ? Show(*knowledge.stamp) : "nothing"),
           partition);
    }
  }
}

void InvariantChecker::OnCommit(const Process& process, std::span<const PositionLock> locks,
                                const StoreChange& change, const absl::Status& known) {
  for (const PositionLock& lock : locks) {
    const int partition = lock.key.partition.partition;
    Knowledge& knowledge = knowledge_[{process.number(), partition}];
    if (options_.is_recording) {
      Record(process.name(), absl::StrCat("commit → ", known.ToString()), partition);
    }
    if (known.code() == absl::StatusCode::kUnknown) {
      knowledge.is_unknown = true;
      knowledge.stamp.reset();
    }
  }
  if (!known.ok()) return;
  for (const StoreChange::Position& position : change.positions) {
    knowledge_[{process.number(), position.key.partition.partition}].stamp = position.row.stamp;
  }
}

void InvariantChecker::OnApply(int process, std::span<const PositionLock> locks,
                               const StoreChange& change, const StoreState& before) {
  if (is_plain()) claims_.OnApply(change, before);
  if (options_.has_queue) queue_.OnApply(change);
  for (const StoreChange::Position& position : change.positions) {
    const int partition = position.key.partition.partition;
    if (position.key != log_->KeyOf(partition)) {
      Fail(Check::kMisuse, "a position row of an unknown partition is written", partition);
    }
    const auto it = before.positions.find(position.key);
    before_[static_cast<std::size_t>(partition)] =
        it == before.positions.end() ? 0 : it->second.stamp.position;
  }
  for (const StoreChange::Id& id : change.ids) {
    const IdRecord& record = id.entry.record;
    const bool is_recorded = change.durability == Durability::kProcess &&
                             record.state == IdState::kRetrying && !options_.has_queue;
    if (!is_recorded) continue;
    recorded_[{process, id.key}] = record.attempt;
    ++recordings_[id.key];
  }
  for (const PositionLock& lock : locks) {
    const int partition = lock.key.partition.partition;
    const auto row = before.positions.find(lock.key);
    const std::uint64_t taken = knowledge_[{process, partition}].writer;
    if (row != before.positions.end() && row->second.stamp.writer == taken) continue;
    Fail(Check::kFencedEffect,
         absl::StrCat("process ", process, " commits on partition ", partition,
                      ", whose row has another writer since"),
         partition);
  }
}

void InvariantChecker::OnApplied(const StoreChange& change, const StoreState& state) {
  for (const EffectRow& effect : change.effects) {
    const std::string key = EncodeIdKey({.scope = effect.scope, .id = effect.id});
    if (options_.is_recording) {
      Record("store", "the effect is visible", effect.partition.partition, effect.id);
    }
    if (++effect_counts_[key] > 1) {
      Fail(Check::kOneEffect, absl::StrCat(effect.id, " has two committed effects"),
           effect.partition.partition, effect.id);
    }
    if (!IsCompleted(state, effect.id)) {
      Fail(Check::kAtomic, absl::StrCat(effect.id, " has an effect and no completed id"),
           effect.partition.partition, effect.id);
    }
  }
  for (const StoreChange::Id& id : change.ids) {
    if (is_plain()) continue;
    CheckId(id, state);
    CheckAttempt(id);
  }
  for (const OutboxRow& row : change.outgoing) {
    if (!options_.is_recording) continue;
    Record("store",
           absl::StrCat("the dead letter of offset ", row.origin.offset,
                        " is visible: ", HeaderText(row.message.headers, "once-disposition")),
           row.origin.key.partition.partition, HeaderText(row.message.headers, "id"));
  }
  CheckOrder(change, state);
  for (const StoreChange::Position& position : change.positions) {
    CheckRow(position, state, before_[static_cast<std::size_t>(position.key.partition.partition)]);
  }
}

int InvariantChecker::RecordedInAdvance(const std::string& id) const {
  const auto it = recordings_.find(KeyOf(id));
  return it == recordings_.end() ? 0 : it->second;
}

// Attempts count invocations, and what was recorded by processes that may have died before one.
void InvariantChecker::CheckAttempt(const StoreChange::Id& id) {
  const auto key = DecodeIdKey(id.key);
  const std::string text(key ? key->id : "?");
  const int made = invocations_[id.key] + RecordedInAdvance(text);
  if (id.entry.record.attempt <= made) return;
  Fail(Check::kAttempts,
       absl::StrCat(text, " is charged with ", id.entry.record.attempt, " attempts, and had ",
                    invocations_[id.key]),
       -1, text);
}

void InvariantChecker::CheckId(const StoreChange::Id& id, const StoreState& state) {
  const auto count = effect_counts_.find(id.key);
  const bool has_effect = count != effect_counts_.end() && count->second > 0;
  const bool is_completed = id.entry.record.state == IdState::kCompleted;
  const bool is_dead = id.entry.record.state == IdState::kDead;
  if (is_completed == has_effect && !is_dead) return;
  const auto key = DecodeIdKey(id.key);
  const std::string text(key ? key->id : "?");
  // What was recorded of failed attempts is forgotten where the number says that all is done.
  const bool is_forgotten = id.entry.record.state == IdState::kAbsent;
  if (is_forgotten && has_effect && IsSettledByNumber(state, text)) return;
  if (is_completed && !has_effect) {
    Fail(Check::kAtomic, absl::StrCat(text, " is completed without an effect"), -1, text);
  } else if (has_effect && !is_completed) {
    Fail(Check::kAtomic, absl::StrCat(text, " has an effect and is not completed"), -1, text);
  } else if (is_dead && !options_.has_queue && !HasLetter(state, text)) {
    Fail(Check::kAtomic, absl::StrCat(text, " is dead without a letter"), -1, text);
  }
}

void InvariantChecker::CheckRow(const StoreChange::Position& position, const StoreState& state,
                                std::int64_t before) {
  const int partition = position.key.partition.partition;
  if (options_.is_recording) {
    Record("store",
           absl::StrCat("row is ", Show(position.row.stamp), " reach ", position.row.reach),
           partition);
  }
  // A row that stays where it was may lie beyond the end of a log that was cut.
  const std::int64_t now = position.row.stamp.position;
  if (now < before || (now > before && now > log_->end(partition))) {
    Fail(Check::kWatermark,
         absl::StrCat("the position of partition ", partition, " goes from ", before, " to ",
                      position.row.stamp.position, ", the log ends at ", log_->end(partition)),
         partition);
  }
  for (std::int64_t offset = before; offset < position.row.stamp.position; ++offset) {
    CheckOutcome(state, partition, offset);
  }
  std::int64_t& furthest = furthest_[static_cast<std::size_t>(partition)];
  furthest = std::max(furthest, position.row.stamp.position);
}

void InvariantChecker::CountEffects(const StoreState& state) {
  effect_counts_.clear();
  for (const EffectRow& effect : state.effects) {
    ++effect_counts_[EncodeIdKey({.scope = effect.scope, .id = effect.id})];
  }
}

void InvariantChecker::OnSynced(const StoreState& state) {
  for (const auto& [key, row] : state.positions) {
    std::int64_t& durable = durable_[static_cast<std::size_t>(key.partition.partition)];
    durable = std::max(durable, row.stamp.position);
  }
  for (const OutboxEntry& entry : state.outbox) {
    const bool is_known =
        std::find(letters_.begin(), letters_.end(), entry.row.message) != letters_.end();
    if (!is_known) letters_.push_back(entry.row.message);
  }
  if (is_plain()) claims_.OnSynced(state);
  if (options_.has_queue) queue_.OnSynced(state);
}

void InvariantChecker::OnTryClaim(const Process& process, std::span<const ClaimRequest> requests,
                                  std::span<const ClaimResult> results, const absl::Status& known) {
  if (is_plain()) claims_.OnTryClaim(process, requests, results, known);
}

void InvariantChecker::OnClaimCall(const Process& process, Seam call, std::span<const Claim> claims,
                                   std::span<const absl::Status> outcomes,
                                   const absl::Status& known) {
  if (is_plain()) claims_.OnClaimCall(process, call, claims, outcomes, known);
}

void InvariantChecker::OnLost(const StoreState& before, const StoreState& state) {
  CountEffects(state);
  if (is_plain()) claims_.OnLost(before, state);
  if (!options_.is_recording) return;
  Record("store", "LOST its last commits");
  for (const auto& [key, row] : state.positions) {
    Record("store", absl::StrCat("row is ", Show(row.stamp)), key.partition.partition);
  }
}

void InvariantChecker::OnMisuse(const Process& process, std::string_view what) {
  Fail(Check::kMisuse, absl::StrCat(process.name(), ": ", ToAbsl(what)));
}

void InvariantChecker::OnAcknowledge(const Process& process, const TopicPartition& partition,
                                     std::int64_t offset) {
  if (options_.is_recording) {
    Record(process.name(), absl::StrCat("broker commit ", offset), partition.partition);
  }
  if (is_plain()) return claims_.OnAcknowledge(process, partition.partition, offset);
  // Holes belong to nobody: whoever passes them acknowledges nothing.
  const std::int64_t durable = durable_[static_cast<std::size_t>(partition.partition)];
  std::int64_t furthest = durable;
  while (furthest < offset && log_->Find(partition.partition, furthest) == nullptr) ++furthest;
  if (offset <= furthest) return;
  Fail(Check::kAcknowledged,
       absl::StrCat(process.name(), " acknowledges offsets below ", offset, " of partition ",
                    partition.partition, ", the store was never synced further than ", durable),
       partition.partition);
}

void InvariantChecker::OnQueueAck(const Process& process, std::int64_t number) {
  queue_.OnAck(process, number);
}

void InvariantChecker::OnPublish(const Process& process, const OutgoingMessage& message) {
  if (is_plain()) return claims_.OnPublish(process, message);
  const std::string id = HeaderText(message.headers, "id");
  if (options_.is_recording) Record(process.name(), "publishes the dead letter", -1, id);
  if (std::find(letters_.begin(), letters_.end(), message) != letters_.end()) return;
  Fail(Check::kPublished,
       absl::StrCat("a letter of ", id, " is published that was never committed and synced"), -1,
       id);
}

void InvariantChecker::OnHandler(const Process& process, const Message& message,
                                 const EffectWriter& effects) {
  const std::string id(message.id());
  const IdRecord record = effects.Peek({.scope = message.scope(), .id = message.id()});
  if (options_.is_recording) {
    Record(process.name(),
           absl::StrCat("handler runs, attempt ", message.attempt(), ", offset ", message.offset()),
           message.partition(), id);
  }
  CheckMessage(message);
  ++invocations_[EncodeIdKey({.scope = message.scope(), .id = message.id()})];
  // Without its session the transaction has no locks, and its effect will never be.
  if (!effects.is_open()) return;
  if (record.state != IdState::kAbsent && record.state != IdState::kRetrying) {
    Fail(Check::kHandledAgain, absl::StrCat("the handler runs for ", id, ", which is settled"),
         message.partition(), id);
  }
  // An attempt that this process has recorded in advance, and that has had no verdict, is the one.
  const auto recorded = recorded_.find(
      {process.number(), EncodeIdKey({.scope = message.scope(), .id = message.id()})});
  const bool is_recorded = recorded != recorded_.end() && recorded->second == record.attempt &&
                           record.state == IdState::kRetrying &&
                           record.not_before == absl::InfinitePast();
  // Unless it was recorded for a copy in another partition: then this is one more.
  const bool is_next = message.attempt() == record.attempt + 1;
  if (!is_next && !(is_recorded && message.attempt() == record.attempt)) {
    Fail(Check::kHandledAgain,
         absl::StrCat("the handler of ", id, " sees attempt ", message.attempt(),
                      ", the store has ", record.attempt, " before it"),
         message.partition(), id);
  }
}

// What a handler is given is what the log has.
void InvariantChecker::CheckMessage(const Message& message) {
  const std::string id(message.id());
  if (message.scope() != options_.scope) {
    Fail(Check::kMisuse, absl::StrCat("the handler sees scope ", ToAbsl(message.scope())),
         message.partition(), id);
  }
  const LogRecord* truth = log_->FindEver(message.partition(), message.offset());
  if (truth == nullptr || IdOf(*truth) != id || truth->value != message.value()) {
    Fail(Check::kMisuse, "the handler sees a message that is not in the log", message.partition(),
         id);
  }
}

}  // namespace once::testing
