// Records on their way, and what becomes of them.
#include "src/testing/fake_record_client.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"

namespace once::testing {
namespace {

constexpr int kDeliveredTogetherMax = 8;
// How long a record that lands late is on its way.
constexpr absl::Duration kSoon = absl::Milliseconds(50);
constexpr absl::Duration kLate = absl::Seconds(1);

absl::Status Dead() { return absl::CancelledError("fake client: the process is dead"); }

}  // namespace

RecordClientFactory FakeRecordClients(FakeTopics& topics, std::shared_ptr<Process> process,
                                      FakeRecordClientOptions options) {
  return [&topics, process = std::move(process), options](
             const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    return std::make_unique<FakeRecordClient>(topics, process, options, contract);
  };
}

absl::StatusOr<std::int32_t> FakeRecordClient::CountPartitions(const std::string& topic,
                                                               absl::Time deadline) {
  while (!process_->is_dead() && !topics_.is_reachable_ && !known_topics_.contains(topic)) {
    if (!changed_.WaitUntil(deadline)) break;
  }
  if (process_->is_dead()) return Dead();
  if (!topics_.is_reachable_ && !known_topics_.contains(topic)) {
    return absl::UnavailableError("fake client: nobody answers");
  }
  const std::int32_t count = topics_.CountPartitions(topic);
  if (count == 0) {
    return absl::InvalidArgumentError(absl::StrCat("fake client: there is no topic ", topic));
  }
  known_topics_.insert(topic);
  return count;
}

bool FakeRecordClient::Strikes(std::string_view what) {
  return oracle().Choose(what, 2, Cost::kFault) == 1;
}

absl::Status FakeRecordClient::TrySend(const OutgoingRecord& record) {
  if (!process_->is_dead()) process_->scheduler().Preempt();
  if (process_->is_dead()) return Dead();
  if (is_broken()) return broken_;
  const bool is_too_large = SizeBytes(record.message) > topics_.options_.message_bytes_max;
  if (is_too_large && !options_.is_refused_late) {
    return absl::InvalidArgumentError("fake client: the record is too large");
  }
  const bool is_full = queue_.size() >= options_.records_max;
  if (is_full || Strikes("queue-full")) {
    return absl::ResourceExhaustedError("fake client: the queue is full");
  }
  const OutgoingMessage& message = record.message;
  Inside inside{.message = {.topic = message.topic,
                            .partition = record.partition,
                            .key = message.key,
                            .value = std::nullopt,
                            .headers = message.headers},
                .lent_value = std::nullopt,
                .copied_value = std::nullopt,
                .is_copied = record.is_copied,
                .is_stamped = !record.stamp.empty(),
                .cookie = record.cookie,
                .expires = process_->Now() + contract_.delivery_timeout + options_.overtime};
  if (record.is_copied) {
    inside.copied_value = message.value;
  } else {
    inside.lent_value = message.value;
  }
  if (!record.stamp.empty()) {
    inside.message.headers.push_back({std::string(kSequenceHeader), std::string(record.stamp)});
  }
  queue_.push_back(std::move(inside));
  changed_.NotifyAll();
  return absl::OkStatus();
}

absl::Time FakeRecordClient::NextExpiry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Inside& record : queue_) next = std::min(next, record.expires);
  return next;
}

// Records are sent in order, so the first ones are the first to expire.
void FakeRecordClient::Expire() {
  while (!queue_.empty() && queue_.front().expires <= process_->Now()) {
    Report(queue_.front(), {.status = absl::UnavailableError("fake client: not sent in time")});
    queue_.pop_front();
    if (contract_.has_no_gaps) Break("a record expired");
  }
}

void FakeRecordClient::Poll(absl::Time deadline, const Listener& listener) {
  while (reports_.empty() && !std::exchange(is_woken_, false)) {
    if (process_->is_dead()) {
      GiveUp(Dead());
      break;
    }
    Expire();
    const bool can_deliver = !queue_.empty() && topics_.is_reachable_;
    if (can_deliver && reports_.empty()) DeliverSome();
    if (can_deliver || !reports_.empty()) continue;
    const absl::Time until = std::min(deadline, NextExpiry());
    const bool is_changed = changed_.WaitUntil(until);
    if (!is_changed && !process_->is_dead() && process_->Now() >= deadline) break;
    if (!is_changed && process_->is_dead() && queue_.empty()) break;
  }
  const std::vector<RecordReport> told = std::exchange(reports_, {});
  const std::deque<OutgoingMessage> returned = std::exchange(returned_, {});
  if (!told.empty()) listener(told);
}

void FakeRecordClient::Report(const Inside& record, RecordReport report) {
  report.cookie = record.cookie;
  if (record.is_copied && !report.status.ok()) {
    OutgoingMessage& message = returned_.emplace_back(record.message);
    message.partition = std::nullopt;
    message.value = record.copied_value;
    if (record.is_stamped) message.headers.pop_back();
    report.returned = &message;
  }
  reports_.push_back(std::move(report));
}

bool FakeRecordClient::RefuseTogether() {
  std::size_t bytes = 0;
  for (const Inside& record : queue_) {
    bytes += SizeBytes(record.message) + record.value().value_or("").size();
  }
  if (options_.together_bytes_max == 0 || bytes <= options_.together_bytes_max) return false;
  for (; !queue_.empty(); queue_.pop_front()) {
    Report(queue_.front(),
           {.status = absl::OutOfRangeError("fake client: the batch is too large")});
  }
  if (contract_.has_no_gaps) Break("a batch was too large");
  return true;
}

void FakeRecordClient::DeliverSome() {
  if (RefuseTogether()) return;
  std::size_t count = queue_.size();
  if (options_.is_partial) {
    const int most = static_cast<int>(std::min<std::size_t>(count, kDeliveredTogetherMax));
    count = static_cast<std::size_t>(most - oracle().Choose("delivered", most, Cost::kFree));
  }
  for (; count > 0 && !queue_.empty() && !process_->is_dead(); --count) DeliverFirst();
}

void FakeRecordClient::DeliverFirst() {
  if (Strikes("client-breaks")) return Break("by an oracle");
  const Inside record = std::move(queue_.front());
  queue_.pop_front();
  is_delivering_ = true;
  const Fault fault = topics_.gate_.Pass(*process_, Seam::kPublish);
  const bool is_dead = process_->is_dead();
  const RecordReport report = is_dead ? RecordReport{.status = Dead()} : Judge(record, fault);
  is_delivering_ = false;
  Report(record, report);
  if (report.status.ok() || process_->is_dead() || is_broken()) return;
  // What is behind it in its partition is not stored either, unless the record itself was.
  if (contract_.has_no_gaps) {
    Break("a record was not stored", {{record.message.topic, *record.message.partition}});
  }
}

bool FakeRecordClient::HasPlace(const Inside& record) const {
  const std::size_t bytes = SizeBytes(record.message) + record.value().value_or("").size();
  return topics_.Place(record.message).has_value() && bytes <= topics_.options_.message_bytes_max;
}

RecordReport FakeRecordClient::Judge(const Inside& record, Fault fault) {
  RecordReport report;
  if (!HasPlace(record)) {
    report.status = absl::InvalidArgumentError("fake client: no such topic or partition");
    return report;
  }
  if (fault == Fault::kFailure) {
    report.status = absl::UnavailableError("fake client: failure");
    return report;
  }
  if (fault != Fault::kUnknownNotApplied) report.offset = Store(record);
  if (fault == Fault::kNone) return report;
  report.offset = -1;
  if (fault == Fault::kCrashAfter) topics_.gate_.Crash(*process_);
  report.status = process_->is_dead() ? Dead() : absl::UnknownError("fake client: no answer");
  return report;
}

std::int64_t FakeRecordClient::Store(const Inside& record) {
  OutgoingMessage message = record.message;
  message.value = record.value();
  return topics_.Store(*process_, message, *record.message.partition);
}

void FakeRecordClient::Break(std::string_view why, Partitions ended) {
  broken_ = absl::FailedPreconditionError(
      absl::StrCat("fake client: broken (", ToAbsl(why), "); open another one"));
  GiveUp(absl::UnavailableError("fake client: not sent by a client that broke"), std::move(ended));
}

void FakeRecordClient::Purge() {
  if (process_->is_dead()) return;
  GiveUp(absl::UnavailableError("fake client: purged"));
}

// Of each partition a first part may have been on its way, and of that a first part is stored.
void FakeRecordClient::GiveUp(const absl::Status& not_stored, Partitions ended) {
  Partitions behind;
  for (; !queue_.empty(); queue_.pop_front()) {
    const Inside& record = queue_.front();
    const std::pair partition(record.message.topic, *record.message.partition);
    RecordReport report{.status = not_stored};
    const bool can_be_stored =
        !process_->is_dead() && !is_delivering_ && !ended.contains(partition) && HasPlace(record);
    const int fates = options_.lands_late ? 4 : 3;
    const int fate = can_be_stored ? oracle().Choose("given-up", fates, Cost::kFault) : 0;
    if (fate != 0) report.status = absl::UnknownError("fake client: given up on its way");
    // What follows one that arrives late arrives later, if at all.
    const bool is_behind = behind.contains(partition);
    if (fate == 1 && !is_behind) Store(record);
    if (fate == 3 || (fate == 1 && is_behind)) LandAfter(record, kLate);
    if (fate == 3) behind.insert(partition);
    if (fate == 0 || fate == 2) ended.insert(partition);
    Report(record, report);
  }
  changed_.NotifyAll();
}

void FakeRecordClient::ListenForDeath() {
  process_->OnKill([self = self_] {
    if (*self != nullptr) (*self)->Scatter();
  });
}

void FakeRecordClient::Scatter() {
  if (is_broken() || is_delivering_) return;
  std::map<std::pair<std::string, std::int32_t>, absl::Duration> delays;
  Partitions ended;
  for (const Inside& record : queue_) {
    const std::pair partition(record.message.topic, *record.message.partition);
    if (ended.contains(partition)) continue;
    // Behind one that the broker refuses nothing is stored: its number would be out of order.
    const int fate = HasPlace(record) ? oracle().Choose("lands-late", 3, Cost::kFault) : 0;
    if (fate == 0) {
      ended.insert(partition);
      continue;
    }
    absl::Duration& delay = delays[partition];
    delay = std::max(delay, fate == 1 ? kSoon : kLate);
    LandAfter(record, delay);
  }
}

// With a copy of its bytes, which may not be there any more then.
void FakeRecordClient::LandAfter(const Inside& record, absl::Duration delay) {
  OutgoingMessage message = record.message;
  message.value = record.value();
  ++topics_.in_flight_;
  FiberScheduler& scheduler = process_->scheduler();
  scheduler.At(scheduler.Now() + delay,
               [&topics = topics_, process = process_, message = std::move(message)] {
                 --topics.in_flight_;
                 topics.Store(*process, message, *message.partition);
               });
}

void FakeRecordClient::Wake() {
  is_woken_ = true;
  changed_.NotifyAll();
}

std::size_t FakeRecordClient::CountInside() const {
  return queue_.size() + reports_.size() + (is_delivering_ ? 1 : 0);
}

absl::Status FakeRecordClient::status() const { return process_->is_dead() ? Dead() : broken_; }

}  // namespace once::testing
