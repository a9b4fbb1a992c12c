// The rules of the claim protocol, each next to the event at which it is judged.
#include "once/testing/claim_invariants.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/testing/invariants.h"
#include "src/testing/header_text.h"

namespace once::testing {
namespace {

bool IsSettledState(IdState state) {
  return state == IdState::kCompleted || state == IdState::kDead || state == IdState::kDiscarded ||
         state == IdState::kUncertain;
}

// Where a record may go from each state.
bool IsAllowed(IdState from, IdState to) {
  switch (from) {
    case IdState::kAbsent:
    case IdState::kRetrying:
      return to == IdState::kClaimed;
    case IdState::kClaimed:
      return to != IdState::kDead && to != IdState::kUncertain;
    case IdState::kDying:
      return to == IdState::kDying || to == IdState::kDead || to == IdState::kUncertain;
    case IdState::kCompleted:
    case IdState::kDead:
    case IdState::kDiscarded:
    case IdState::kUncertain:
      break;
  }
  return false;
}

constexpr std::string_view kVerdictNames[] = {"fresh",     "takeover",   "duplicate", "in progress",
                                              "conflict",  "not before", "dead",      "discarded",
                                              "uncertain", "publish"};
std::string_view Show(ClaimVerdict verdict) {
  return kVerdictNames[static_cast<std::size_t>(verdict)];
}

std::int64_t HeaderNumber(const std::vector<OwnedHeader>& headers, std::string_view name) {
  const std::string text = HeaderText(headers, name);
  std::int64_t number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string IdIn(const std::string& encoded) {
  const auto key = DecodeIdKey(encoded);
  return key ? std::string(key->id) : "?";
}

// The message had no record of its own to die with.
bool IsOfDelivery(const std::string& disposition) {
  return disposition == "conflict" || disposition == "no-id" || disposition == "invalid-id";
}

}  // namespace

void ClaimInvariants::Watch(const FakeLog& log) {
  log_ = &log;
  acknowledged_.assign(static_cast<std::size_t>(log.options().partitions), 0);
}

std::string ClaimInvariants::KeyOf(const std::string& id) const {
  return EncodeIdKey({.scope = rules_.scope, .id = id});
}

ClaimInvariants::Knowledge* ClaimInvariants::Find(const Process& process, const IdKey& key,
                                                  const Fence& fence) {
  const auto it = knowledge_.find({process.number(), EncodeIdKey(key)});
  return it != knowledge_.end() && it->second.fence == fence ? &it->second : nullptr;
}

const ClaimInvariants::Knowledge* ClaimInvariants::FindReturned(const std::string& key,
                                                                const Fence& fence) const {
  for (const auto& [place, knowledge] : knowledge_) {
    const bool is_meant = place.second == key && knowledge.fence == fence;
    if (is_meant && knowledge.has_returned) return &knowledge;
  }
  return nullptr;
}

void ClaimInvariants::OnTryClaim(const Process& process, std::span<const ClaimRequest> requests,
                                 std::span<const ClaimResult> results, const absl::Status& known) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (checker_.is_recording()) {
      const std::string told = known.ok() ? absl::StrCat(ToAbsl(Show(results[i].verdict)),
                                                         ", attempt ", results[i].attempt)
                                          : known.ToString();
      checker_.Record(process.name(),
                      absl::StrCat("claims with ", requests[i].fence.counter, " → ", told), -1,
                      std::string(requests[i].key.id));
    }
    if (!known.ok()) continue;
    const ClaimVerdict verdict = results[i].verdict;
    const bool is_ours = verdict == ClaimVerdict::kFresh || verdict == ClaimVerdict::kTakeover ||
                         verdict == ClaimVerdict::kPublish;
    Knowledge& knowledge = knowledge_[{process.number(), EncodeIdKey(requests[i].key)}];
    if (is_ours && knowledge.fence != requests[i].fence) knowledge = {.fence = requests[i].fence};
  }
}

void ClaimInvariants::OnClaimCall(const Process& process, Seam call, std::span<const Claim> claims,
                                  std::span<const absl::Status> outcomes,
                                  const absl::Status& known) {
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (checker_.is_recording()) {
      checker_.Record(process.name(),
                      absl::StrCat(ToAbsl(ToString(call)), " with ", claims[i].fence.counter, " → ",
                                   (known.ok() ? outcomes[i] : known).ToString()),
                      -1, std::string(claims[i].key.id));
    }
    if (!known.ok()) continue;
    Knowledge* knowledge = Find(process, claims[i].key, claims[i].fence);
    if (knowledge == nullptr) continue;
    if (call == Seam::kRelease && knowledge->was_invoked) {
      checker_.Fail(Check::kMisuse,
                    absl::StrCat("a claim of ", ToAbsl(claims[i].key.id),
                                 " is released whose handler has begun"),
                    -1, std::string(claims[i].key.id));
    }
    if (!outcomes[i].ok()) {
      knowledge->may_invoke = false;  // it knows that its lease is lost
    } else if (call == Seam::kBegun) {
      knowledge->may_invoke = true;
    }
  }
}

void ClaimInvariants::OnApply(const StoreChange& change, const StoreState& before) {
  for (const StoreChange::Id& id : change.ids) {
    const auto it = before.ids.find(id.key);
    CheckTransition(id, it == before.ids.end() ? IdEntry{} : it->second);
    unsynced_.insert(id.key);
    if (id.entry.record.state == IdState::kDiscarded) discarded_.insert(id.key);
  }
}

void ClaimInvariants::CheckTransition(const StoreChange::Id& id, const IdEntry& before) {
  const std::string text = IdIn(id.key);
  const IdState from = before.record.state;
  const IdState to = id.entry.record.state;
  if (checker_.is_recording() && from != to) {
    checker_.Record(
        "store",
        absl::StrCat("the id is ", ToAbsl(ToString(to)), ", attempt ", id.entry.record.attempt), -1,
        text);
  }
  if (!IsAllowed(from, to)) {
    checker_.Fail(
        Check::kClaimStates,
        absl::StrCat(text, " goes from ", ToAbsl(ToString(from)), " to ", ToAbsl(ToString(to))), -1,
        text);
    return;
  }
  const bool was_held = from == IdState::kClaimed || from == IdState::kDying;
  const bool is_held = to == IdState::kClaimed || to == IdState::kDying;
  const bool is_takeover = is_held && id.entry.claim.fence == id.by && !id.entry.claim.is_begun;
  if (was_held && before.claim.fence != id.by && !is_takeover) {
    checker_.Fail(Check::kFencedEffect,
                  absl::StrCat("a former owner makes ", text, " ", ToAbsl(ToString(to))), -1, text);
  }
  const bool is_cut_off = from == IdState::kClaimed && before.claim.is_begun && is_takeover &&
                          before.claim.fence != id.by;
  if (is_cut_off) ++cut_offs_[id.key];
  if (id.entry.record.attempt > rules_.attempts_max * (1 + losses_)) {
    checker_.Fail(Check::kAttempts,
                  absl::StrCat(text, " is charged with attempt ", id.entry.record.attempt,
                               ", there may be ", rules_.attempts_max),
                  -1, text);
  }
  CheckOutcomeRecorded(id, text);
}

// What is recorded is what the handler said, and what has happened.
void ClaimInvariants::CheckOutcomeRecorded(const StoreChange::Id& id, const std::string& text) {
  const IdState to = id.entry.record.state;
  const bool is_dead = to == IdState::kDead || to == IdState::kUncertain;
  if (to == IdState::kCompleted && effects_[id.key].empty()) {
    checker_.Fail(Check::kAtomic, absl::StrCat(text, " is completed without an effect"), -1, text);
  }
  if (is_dead && rules_.has_letters && !HasLetter(text)) {
    checker_.Fail(Check::kAtomic, absl::StrCat(text, " is dead, and no letter is in its topic"), -1,
                  text);
  }
  const Knowledge* knowledge = FindReturned(id.key, id.by);
  if (knowledge == nullptr) return;
  const bool is_failure = to == IdState::kRetrying || to == IdState::kDying;
  const bool is_wrong = knowledge->is_done ? is_failure : to == IdState::kCompleted;
  if (!is_wrong) return;
  checker_.Fail(Check::kRightOutcome,
                absl::StrCat("the handler of ", text, knowledge->is_done ? " is done" : " failed",
                             ", and ", ToAbsl(ToString(to)), " is recorded"),
                -1, text);
}

void ClaimInvariants::OnSynced(const StoreState& state) {
  for (const std::string& key : unsynced_) {
    const auto it = state.ids.find(key);
    if (it == state.ids.end()) continue;
    const IdRecord& record = it->second.record;
    if (IsSettledState(record.state)) settled_[key].push_back(record.fingerprint);
    if (record.state == IdState::kDying) dying_.insert(key);
  }
  unsynced_.clear();
}

void ClaimInvariants::OnLost(const StoreState& before, const StoreState& state) {
  ++losses_;
  for (const auto& [key, entry] : before.ids) {
    const auto it = state.ids.find(key);
    if (it == state.ids.end() || it->second != entry) ++cut_offs_[key];
  }
}

bool ClaimInvariants::IsSettled(const std::string& key, const LogRecord& record) const {
  const auto it = settled_.find(key);
  if (it == settled_.end()) return false;
  const Fingerprint print = Fingerprint::Of(record.value);
  return std::any_of(it->second.begin(), it->second.end(),
                     [&print](const Fingerprint& settled) { return settled.Matches(print); });
}

void ClaimInvariants::OnAcknowledge(const Process& process, int partition, std::int64_t offset) {
  std::int64_t& acknowledged = acknowledged_[static_cast<std::size_t>(partition)];
  for (; acknowledged < offset; ++acknowledged) {
    const LogRecord* record = log_->Find(partition, acknowledged);
    if (record == nullptr) continue;
    const std::string id = HeaderText(record->headers, "id");
    if (HasOwnLetter(partition, acknowledged) || IsSettled(KeyOf(id), *record)) continue;
    checker_.Fail(
        Check::kAcknowledged,
        absl::StrCat(process.name(), " acknowledges ", id, " at offset ", acknowledged,
                     " of partition ", partition, ", and no synced record says what became of it"),
        partition, id);
    return;
  }
}

bool ClaimInvariants::HasLetter(const std::string& id) const {
  return std::any_of(letters_.begin(), letters_.end(), [&id](const auto& letter) {
    return letter.second.id == id && !IsOfDelivery(letter.second.disposition);
  });
}

bool ClaimInvariants::HasOwnLetter(int partition, std::int64_t offset) const {
  const auto it = letters_.find({partition, offset});
  return it != letters_.end() && IsOfDelivery(it->second.disposition);
}

void ClaimInvariants::OnPublish(const Process& process, const OutgoingMessage& letter) {
  const std::string id = HeaderText(letter.headers, "id");
  const std::string disposition = HeaderText(letter.headers, "once-disposition");
  const auto partition = static_cast<int>(HeaderNumber(letter.headers, "once-origin-partition"));
  const std::int64_t offset = HeaderNumber(letter.headers, "once-origin-offset");
  if (checker_.is_recording()) {
    checker_.Record(process.name(),
                    absl::StrCat("publishes the dead letter of offset ", offset, ": ", disposition),
                    partition, id);
  }
  const LogRecord* record = log_->FindEver(partition, offset);
  if (record == nullptr || record->value != letter.value || record->key != letter.key) {
    checker_.Fail(Check::kPublished, absl::StrCat("a letter of ", id, " is of no message"),
                  partition, id);
    return;
  }
  letters_[{partition, offset}] = {.disposition = disposition, .id = id};
  if (IsOfDelivery(disposition) || dying_.contains(KeyOf(id))) return;
  checker_.Fail(
      Check::kPublished,
      absl::StrCat("a letter of ", id, " is published, and no synced record says that it is dying"),
      partition, id);
}

void ClaimInvariants::OnHandler(const Process& process, const Message& message,
                                const StoreState& state) {
  const std::string id(message.id());
  const std::string key = EncodeIdKey({.scope = message.scope(), .id = message.id()});
  Knowledge& knowledge = knowledge_[{process.number(), key}];
  if (!knowledge.may_invoke) {
    checker_.Fail(Check::kBegun,
                  absl::StrCat("the handler of ", id, " runs in ", process.name(),
                               " without a claim that is known to have begun"),
                  message.partition(), id);
  }
  knowledge.may_invoke = false;
  knowledge.was_invoked = true;
  if (++invocations_[key] > rules_.attempts_max * (1 + losses_)) {
    checker_.Fail(Check::kAttempts,
                  absl::StrCat("the handler of ", id, " runs for the ", invocations_[key],
                               ". time, there may be ", rules_.attempts_max, " attempts"),
                  message.partition(), id);
  }
  CheckOrder(message, state);
  const auto it = state.ids.find(key);
  // Whoever slept since it began finds out when it records the end.
  const bool is_owner = it != state.ids.end() && it->second.record.state == IdState::kClaimed &&
                        it->second.claim.fence == knowledge.fence;
  if (!is_owner) return;
  const IdEntry& entry = it->second;
  const bool is_right = message.attempt() == entry.record.attempt + 1 &&
                        message.maybe_repeated() == entry.claim.maybe_ran;
  if (is_right) return;
  checker_.Fail(Check::kHandledAgain,
                absl::StrCat("the handler of ", id, " sees attempt ", message.attempt(),
                             message.maybe_repeated() ? ", maybe repeated" : "", "; the store has ",
                             entry.record.attempt, " before it",
                             entry.claim.maybe_ran ? ", one of which was lost" : ""),
                message.partition(), id);
}

// Nothing is judged after a loss: what the store has forgotten has been handled.
void ClaimInvariants::CheckOrder(const Message& message, const StoreState& state) {
  if (losses_ > 0 || !rules_.has_letters) return;
  for (std::int64_t offset = 0; offset < message.offset(); ++offset) {
    const LogRecord* record = log_->Find(message.partition(), offset);
    if (record == nullptr || !OutcomeOf(state, message.partition(), offset).empty()) continue;
    const std::string overtaken = HeaderText(record->headers, "id");
    checker_.Fail(
        Check::kOrder,
        absl::StrCat("the handler of ", ToAbsl(message.id()), " at offset ", message.offset(),
                     " runs before ", overtaken, " at offset ", offset, " is settled"),
        message.partition(), overtaken);
  }
}

void ClaimInvariants::OnEffect(const Process& /*process*/, const Message& message) {
  const std::string key = EncodeIdKey({.scope = message.scope(), .id = message.id()});
  const std::string id(message.id());
  std::vector<std::string>& values = effects_[key];
  values.emplace_back(message.value().value_or(""));
  if (checker_.is_recording()) {
    checker_.Record("world", "the effect happens", message.partition(), id);
  }
  const auto cut_offs = cut_offs_.find(key);
  const auto allowed =
      1 + static_cast<std::size_t>(cut_offs == cut_offs_.end() ? 0 : cut_offs->second);
  if (values.size() <= allowed) return;
  checker_.Fail(Check::kOneEffect,
                absl::StrCat(id, " has ", values.size(), " effects, and ", allowed - 1,
                             " invocations were cut off"),
                message.partition(), id);
}

void ClaimInvariants::OnReturn(const Process& process, const Message& message, bool is_done) {
  Knowledge& knowledge =
      knowledge_[{process.number(), EncodeIdKey({.scope = message.scope(), .id = message.id()})}];
  knowledge.has_returned = true;
  knowledge.is_done = is_done;
}

int ClaimInvariants::CutOffs(const std::string& id) const {
  const auto it = cut_offs_.find(KeyOf(id));
  return it == cut_offs_.end() ? 0 : it->second;
}

bool ClaimInvariants::HasEffect(const Message& message) const {
  const auto it = effects_.find(EncodeIdKey({.scope = message.scope(), .id = message.id()}));
  if (it == effects_.end()) return false;
  // By value too: a downstream that is asked about a message knows what it did.
  const std::string_view value = message.value().value_or("");
  return std::find(it->second.begin(), it->second.end(), value) != it->second.end();
}

void ClaimInvariants::OnRecreated() {
  std::fill(acknowledged_.begin(), acknowledged_.end(), 0);
  letters_.clear();
}

std::size_t ClaimInvariants::effect_count() const {
  std::size_t count = 0;
  for (const auto& [key, values] : effects_) count += values.size();
  return count;
}

std::string_view ClaimInvariants::DeathOf(const StoreState& state, int partition,
                                          std::int64_t offset, const std::string& id) const {
  if (!rules_.has_letters) return QueueInvariants::IsDead(state, KeyOf(id)) ? "dead" : "";
  if (!HasLetter(id)) return "";
  return letters_.contains({partition, offset}) ? "letter" : "dead";
}

std::string ClaimInvariants::OutcomeOf(const StoreState& state, int partition,
                                       std::int64_t offset) const {
  const LogRecord* record = log_->FindEver(partition, offset);
  if (record == nullptr) return "hole";
  if (HasOwnLetter(partition, offset)) return "letter";
  const std::string id = HeaderText(record->headers, "id");
  const std::string key = KeyOf(id);
  if (!rules_.has_letters && QueueInvariants::IsConflict(state, key, *record)) return "conflict";
  std::string outcome;
  const auto effects = effects_.find(key);
  const bool has_effect =
      effects != effects_.end() && std::find(effects->second.begin(), effects->second.end(),
                                             record->value) != effects->second.end();
  if (has_effect) outcome = "effect";
  const std::string_view death = DeathOf(state, partition, offset, id);
  if (!death.empty()) absl::StrAppend(&outcome, outcome.empty() ? "" : "+", ToAbsl(death));
  if (discarded_.contains(key)) absl::StrAppend(&outcome, outcome.empty() ? "" : "+", "skip");
  return outcome;
}

bool ClaimInvariants::IsDrained(const StoreState& state) const {
  for (int partition = 0; partition < log_->options().partitions; ++partition) {
    for (std::int64_t offset = acknowledged_[static_cast<std::size_t>(partition)];
         offset < log_->end(partition); ++offset) {
      const LogRecord* record = log_->Find(partition, offset);
      if (record == nullptr || HasOwnLetter(partition, offset)) continue;
      const auto it = state.ids.find(KeyOf(HeaderText(record->headers, "id")));
      const bool is_settled = it != state.ids.end() && IsSettledState(it->second.record.state) &&
                              it->second.record.fingerprint.Matches(Fingerprint::Of(record->value));
      if (!is_settled) return false;
    }
  }
  return true;
}

void ClaimInvariants::CheckEnd(const StoreState& state, bool is_drained) {
  for (int partition = 0; partition < log_->options().partitions; ++partition) {
    for (std::int64_t offset = 0; offset < log_->end(partition); ++offset) {
      const LogRecord* record = log_->Find(partition, offset);
      if (record == nullptr) continue;
      const std::string id = HeaderText(record->headers, "id");
      const std::string outcome = OutcomeOf(state, partition, offset);
      if (outcome.empty() && !is_drained) continue;
      const bool is_one = !absl::StrContains(outcome, '+');
      if (!outcome.empty() && (is_one || CutOffs(id) > 0)) continue;
      checker_.Fail(Check::kOneOutcome,
                    absl::StrCat(id, " at offset ", offset, " of partition ", partition,
                                 outcome.empty() ? " is lost" : " has several outcomes: ", outcome),
                    partition, id);
    }
  }
}

}  // namespace once::testing
