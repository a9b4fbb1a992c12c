// Answers, silence, and patience with either.
#include "src/relay_topics.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once {
namespace {

// How long the brokers are asked for the partitions of a topic that nobody has met yet: once a
// turn, for everything else waits meanwhile.
constexpr absl::Duration kAskTimeout = absl::Seconds(2);
// A topic is asked for again after this; one of which nobody says anything, while others are
// answered for, after twice the last pause, up to the greater one.
constexpr absl::Duration kPauseMin = absl::Seconds(1);
constexpr absl::Duration kPauseMax = absl::Seconds(5);
// … and so soon while nobody answers at all.
constexpr absl::Duration kSilencePause = absl::Milliseconds(200);
// A topic that nobody has asked for so long is forgotten, and begins anew; one that is held back is
// asked for.
constexpr absl::Duration kForgottenAfter = absl::Minutes(2);
// Of more topics than that nothing is remembered from turn to turn: their rows are told again.
constexpr std::size_t kHoldsMax = 1000;

}  // namespace

void RelayTopics::BeginTurn(RecordClient* client) {
  counts_.clear();
  passed_.clear();
  trouble_ = absl::OkStatus();
  has_waited_ = false;
  const absl::Duration forgotten_after = std::max(kForgottenAfter, 2 * missing_grace_);
  std::erase_if(holds_, [&](const auto& entry) {
    return executor_.Now() - entry.second.asked_at > forgotten_after;
  });
  std::vector<std::string> due;
  for (const auto& [topic, hold] : holds_) {
    if (hold.is_on && hold.ask_again <= executor_.Now()) due.push_back(topic);
  }
  for (const std::string& topic : due) {
    if (client != nullptr) CountPartitions(*client, topic).IgnoreError();
  }
  for (const auto& [topic, hold] : holds_) {
    if (!hold.is_on) continue;
    counts_.try_emplace(topic, hold.why);
    trouble_.Update(hold.why);
    passed_.push_back(topic);
  }
}

std::size_t RelayTopics::CountHeld() const {
  return static_cast<std::size_t>(std::count_if(
      holds_.begin(), holds_.end(), [](const auto& entry) { return entry.second.is_on; }));
}

absl::Time RelayTopics::next_ask() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [topic, hold] : holds_) {
    if (hold.is_on) next = std::min(next, hold.ask_again);
  }
  return next;
}

absl::StatusOr<std::int32_t> RelayTopics::CountPartitions(RecordClient& client,
                                                          const std::string& topic) {
  const auto known = counts_.find(topic);
  if (known != counts_.end()) return known->second;
  absl::StatusOr<std::int32_t> count = Ask(client, topic);
  if (!count.ok() && count.status().code() != absl::StatusCode::kInvalidArgument) {
    trouble_.Update(count.status());
  }
  counts_.emplace(topic, count);
  return count;
}

absl::StatusOr<std::int32_t> RelayTopics::Ask(RecordClient& client, const std::string& topic) {
  const absl::Time begun = executor_.Now();
  const bool may_wait = !has_waited_;
  absl::StatusOr<std::int32_t> count =
      client.CountPartitions(topic, may_wait ? begun + kAskTimeout : begun);
  if (count.ok() && *count <= 0) count = absl::InternalError("a topic without partitions");
  if (count.ok()) {
    answered_at_ = executor_.Now();
    holds_.erase(topic);
    return count;
  }
  if (count.status().code() == absl::StatusCode::kInvalidArgument) {
    answered_at_ = executor_.Now();
    return HoldMissing(topic, count.status());
  }
  has_waited_ = true;
  // Without time to answer its silence says nothing.
  return may_wait ? HoldSilent(topic, count.status()) : count.status();
}

// The brokers may list a topic that was just created, or just came back with one of them, only a
// moment later; and what is parked needs an operator.
absl::Status RelayTopics::HoldMissing(const std::string& topic, const absl::Status& why) {
  const absl::Time now = executor_.Now();
  Hold hold = holds_[topic];
  const bool is_new = hold.missing_since > now || now - hold.asked_at > missing_grace_ + kPauseMin;
  if (is_new) hold.missing_since = now;
  hold.silent_since = absl::InfiniteFuture();
  if (now - hold.missing_since >= missing_grace_) {
    hold.is_on = false;
    Keep(topic, std::move(hold)).IgnoreError();
    return why;
  }
  hold.is_on = true;
  hold.ask_again = now + kPauseMin;
  hold.why = absl::UnavailableError(absl::StrCat(why.message(), "; messages to ", topic,
                                                 " are held back, and parked after ",
                                                 absl::FormatDuration(missing_grace_), " of that"));
  return Keep(topic, std::move(hold));
}

absl::Status RelayTopics::HoldSilent(const std::string& topic, const absl::Status& why) {
  const absl::Time now = executor_.Now();
  Hold hold = holds_[topic];
  hold.missing_since = absl::InfiniteFuture();
  if (hold.silent_since == absl::InfiniteFuture()) hold.silent_since = now;
  hold.is_on = true;
  hold.pause = std::clamp(2 * hold.pause, kPauseMin, kPauseMax);
  hold.ask_again = now + (answered_at_ < hold.silent_since ? kSilencePause : hold.pause);
  hold.why = why;
  return Keep(topic, std::move(hold));
}

absl::Status RelayTopics::Keep(const std::string& topic, Hold hold) {
  hold.asked_at = executor_.Now();
  absl::Status why = hold.why;
  holds_[topic] = std::move(hold);
  if (holds_.size() > kHoldsMax) holds_.erase(topic);
  return why;
}

}  // namespace once
