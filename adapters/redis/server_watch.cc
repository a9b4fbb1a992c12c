// What a change of the server means for what it has answered.
#include "adapters/redis/server_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace once::redis {

void ServerWatch::Begin(const ServerFacts& facts) {
  const std::lock_guard lock(mutex_);
  if (has_begun_) return;
  has_begun_ = true;
  facts_ = facts;
  LowerTo(TrustIn(facts));
}

bool ServerWatch::has_begun() const {
  const std::lock_guard lock(mutex_);
  return has_begun_;
}

Trust ServerWatch::trust() const {
  const std::lock_guard lock(mutex_);
  return trust_;
}

std::uint64_t ServerWatch::generation() const {
  const std::lock_guard lock(mutex_);
  return generation_;
}

std::uint64_t ServerWatch::losses() const {
  const std::lock_guard lock(mutex_);
  return generation_ + losses_ + words_losses_;
}

ServerWatch::Expected ServerWatch::BeginLook() const {
  const std::lock_guard lock(mutex_);
  return {.tag = witness_tag_, .witness = witness_known_, .losses = losses_};
}

bool ServerWatch::IsLost(std::optional<std::uint64_t> witness, const Expected& expected) const {
  // Another look may have seen the same loss already.
  return witness && *witness < expected.witness && losses_ == expected.losses;
}

bool ServerWatch::Observe(const ServerFacts& facts, std::optional<std::uint64_t> witness,
                          const Expected& expected) {
  const std::lock_guard lock(mutex_);
  if (!has_begun_) {
    has_begun_ = true;
    facts_ = facts;
    LowerTo(TrustIn(facts));
    return facts.was_promoted();
  }
  LowerTo(TrustIn(facts));
  const bool is_restarted = facts.run_id != facts_.run_id;
  // A replica that became the master, or a master that was a replica meanwhile. (The history also
  // changes when a first replica arrives, and has no former one then.)
  const bool is_promoted =
      facts.was_promoted() && (is_restarted || facts.former_history != facts_.former_history);
  if (is_restarted && !is_promoted) ++generation_;
  facts_ = facts;
  if (is_promoted) FailOver();
  if (IsLost(witness, expected)) {
    LoseWitness();
  } else if (is_restarted && !is_promoted) {
    LoseWords("a restart of the server");
  }
  return is_promoted;
}

void ServerWatch::ObserveSuccessor(bool is_promoted, std::optional<std::uint64_t> witness,
                                   const Expected& expected) {
  const std::lock_guard lock(mutex_);
  if (is_promoted) FailOver();
  if (IsLost(witness, expected)) LoseWitness();
}

ServerWatch::Speaker& ServerWatch::ThisSpeaker() {
  const auto [speaker, is_new] = speakers_.try_emplace(std::this_thread::get_id());
  if (is_new) speaker->second.witness_loss = losses_;
  return speaker->second;
}

void ServerWatch::NoteWord() {
  const std::lock_guard lock(mutex_);
  Speaker& speaker = ThisSpeaker();
  if (!speaker.has_words) speaker.words_loss = words_losses_;
  speaker.has_words = true;
}

bool ServerWatch::HasWords() const {
  const std::lock_guard lock(mutex_);
  const auto speaker = speakers_.find(std::this_thread::get_id());
  return speaker != speakers_.end() && speaker->second.has_words;
}

ServerWatch::SyncStep ServerWatch::BeginSync() {
  const std::lock_guard lock(mutex_);
  return {.tag = witness_tag_, .known = witness_known_, .next = ++witness_sent_};
}

void ServerWatch::RecordWitness(const SyncStep& step, bool is_witness_lost) {
  const std::lock_guard lock(mutex_);
  ThisSpeaker();  // Whoever syncs is told of losses from now on.
  if (is_witness_lost) {
    LoseWitness();
  } else {
    witness_known_ = step.next;
  }
}

void ServerWatch::MoveWitness(std::string tag) {
  const std::lock_guard lock(mutex_);
  witness_tag_ = std::move(tag);
  witness_known_ = 0;
}

absl::Status ServerWatch::Tell() {
  const std::lock_guard lock(mutex_);
  Speaker& speaker = ThisSpeaker();
  const bool is_told = (!speaker.has_words || speaker.words_loss == words_losses_) &&
                       speaker.witness_loss == losses_;
  speaker = {.has_words = false, .words_loss = words_losses_, .witness_loss = losses_};
  if (is_told) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "redis: sync: after ", last_loss_,
      " the server may have lost the last claims and outcomes; the guarantee says how far it is "
      "trusted now"));
}

void ServerWatch::LowerTo(const Trust& trust) {
  if (trust.durability < trust_.durability) trust_ = trust;
}

void ServerWatch::FailOver() {
  ++generation_;
  LowerTo({.durability = Durability::kNothing,
           .weakness = "there was a failover, and a failover loses what the replica had not "
                       "heard yet: the store is at least once from now on; open it again once "
                       "you know what is lost"});
  LoseWords("a failover");
}

void ServerWatch::LoseWords(const std::string& reason) {
  ++words_losses_;
  last_loss_ = reason;
}

void ServerWatch::LoseWitness() {
  LowerTo({.durability = Durability::kNothing,
           .weakness = "the server went back to an earlier state, or was emptied, after it had "
                       "promised to keep what is gone: the store is at least once from now on"});
  last_loss_ = "a return to an earlier state";
  witness_known_ = 0;
  ++losses_;
}

}  // namespace once::redis
