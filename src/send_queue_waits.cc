// Who waits for a queue: for room, for outcomes, for marks; and the telling of outcomes.
#include <algorithm>
#include <utility>

#include "src/send_queue.h"

namespace once {
namespace {

constexpr absl::Duration kPumpWait = absl::Milliseconds(10);
constexpr int kPumpWaitsMax = 1000;

void AddTo(Undelivered& undelivered, const SendOutcome& outcome) {
  if (++undelivered.count <= kUndeliveredListedMax) undelivered.messages.push_back(outcome);
}

SendOutcome OutcomeSoFar(const PendingSend& one) {
  return {.status = one.may_be_stored || one.sequence != 0
                        ? absl::UnknownError("producer: no answer yet, may be stored")
                        : absl::DeadlineExceededError("producer: not sent yet"),
          .id = std::string(one.id()),
          .topic = one.stream->topic,
          .partition = one.partition,
          .sequence = one.sequence};
}

}  // namespace

// True: something has changed. False: `deadline`.
bool SendQueue::Await(Lock& lock, Listener& listener, absl::Time deadline) {
  listeners_.push_back(&listener);
  lock.unlock();
  const bool is_changed = listener.event->WaitUntil(deadline);
  lock.lock();
  std::erase(listeners_, &listener);
  return is_changed;
}

void SendQueue::Seal(Finished& finished) {
  // Senders wait for some more room than they need, so that they are not woken for each message.
  const bool has_much_room = counts_.messages <= options_.limits.messages_max / 8 * 7 &&
                             counts_.bytes <= options_.limits.bytes_max / 8 * 7;
  const bool has_room = finished.has_turn && counts_.messages < options_.limits.messages_max &&
                        counts_.bytes < options_.limits.bytes_max;
  for (const Listener* listener : listeners_) {
    const News wanted = listener->waits_for;
    const bool is_news = wanted == News::kAny || (wanted == News::kMarks && finished.has_marks) ||
                         (wanted == News::kRoom && (has_much_room || has_room || is_closed_));
    if (is_news) finished.events.push_back(listener->event);
  }
  if (finished.sends.empty()) return;
  finished.telling = ++last_telling_;
  telling_.insert(finished.telling);
}

void SendQueue::Tell(Lock& lock, Finished& finished) {
  Seal(finished);
  lock.unlock();
  SendOutcome scratch;
  for (const std::shared_ptr<PendingSend>& one : finished.sends) one->Complete(scratch);
  if (finished.telling != 0) {
    lock.lock();
    telling_.erase(finished.telling);
    // Also those who have begun to wait for this meanwhile.
    for (const Listener* listener : listeners_) {
      if (listener->waits_for == News::kAny) finished.events.push_back(listener->event);
    }
    lock.unlock();
  }
  for (const std::shared_ptr<Event>& event : finished.events) event->Set();
  spent_.Keep(finished.sends);
  finished = {};
}

// Whoever pumps when no more is added ends soon.
void SendQueue::AwaitPumps(Lock& lock) {
  if (pumping_ == 0) return;
  lock.unlock();
  const std::shared_ptr<Event> event = options_.executor.NewEvent();
  lock.lock();
  Listener listener{.event = event};
  for (int i = 0; pumping_ > 0 && i < kPumpWaitsMax; ++i) {
    lock.unlock();
    const absl::Time soon = options_.executor.Now() + kPumpWait;
    lock.lock();
    Await(lock, listener, soon);
  }
}

void SendQueue::BeginCollecting(Collection& collection) {
  const std::lock_guard lock(mutex_);
  collection.up_to = last_ordinal_;
  collections_.push_back(&collection);
}

void SendQueue::EndCollecting(Collection& collection) {
  const std::lock_guard lock(mutex_);
  std::erase(collections_, &collection);
  for (const PendingSend* one = first_; one != nullptr && one->ordinal <= collection.up_to;
       one = one->after) {
    AddTo(collection.undelivered, OutcomeSoFar(*one));
  }
}

void SendQueue::Collect(PendingSend& failed) {
  for (Collection* collection : collections_) {
    if (failed.ordinal <= collection->up_to) AddTo(collection->undelivered, failed.Look());
  }
}

bool SendQueue::AwaitOutcomes(const Collection& collection, absl::Time deadline) {
  Listener listener{.event = options_.executor.NewEvent()};
  Lock lock(mutex_);
  const auto is_under_way = [&] {
    return first_ != nullptr && first_->ordinal <= collection.up_to;
  };
  while (is_under_way()) {
    if (!Await(lock, listener, deadline)) return !is_under_way();
  }
  // What is being told now; of what comes later nothing concerns us.
  const std::uint64_t last_telling = last_telling_;
  const auto is_being_told = [&] { return !telling_.empty() && *telling_.begin() <= last_telling; };
  while (is_being_told()) {
    if (!Await(lock, listener, deadline)) return !is_being_told();
  }
  return true;
}

std::vector<SendQueue::MarkGoal> SendQueue::ListMarkGoals() const {
  std::vector<MarkGoal> goals;
  for (const auto& [name, topic] : topics_) {
    for (const auto& stream : topic->streams) {
      if (stream == nullptr || !stream->has_news()) continue;
      goals.push_back({.stream = stream.get(), .last = stream->last_settled});
    }
  }
  return goals;
}

// Others send meanwhile, and have news of their own: that is not waited for.
void SendQueue::AwaitMarks(absl::Time deadline, const std::function<void()>& request) {
  Listener listener{.waits_for = News::kMarks, .event = options_.executor.NewEvent()};
  Lock lock(mutex_);
  const std::vector<MarkGoal> goals = ListMarkGoals();
  const auto is_reached = [](const MarkGoal& goal) {
    const SendStream& stream = *goal.stream;
    return !stream.has_news() || (stream.voids.empty() && stream.voids_inside == 0 &&
                                  stream.marked && stream.marked->last >= goal.last);
  };
  while (!is_dead_ && !std::all_of(goals.begin(), goals.end(), is_reached)) {
    lock.unlock();
    request();
    lock.lock();
    if (!Await(lock, listener, deadline)) return;
  }
}

}  // namespace once
