// The task of a SpoolingProducer: the line, the road, and a look at the disk now and then.
#include <algorithm>
#include <deque>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/spooling_producer.h"
#include "src/test_hooks.h"

namespace once {
namespace {

constexpr absl::Duration kWatchInterval = absl::Seconds(1);
// After trouble with the disk.
constexpr absl::Duration kWriteBackoff = absl::Milliseconds(100);
// The road stays closed so long at least.
constexpr absl::Duration kRoadPause = absl::Seconds(1);
// Bytes of one transaction, but for the first message.
constexpr std::size_t kBatchBytesMax = 8 * 1024 * 1024;

}  // namespace

void SpoolingProducer::RunTask() {
  while (true) {
    Turn();
    bool is_over = false;
    bool has_work = false;
    {
      const std::lock_guard lock(mutex_);
      is_over = stop_.stop_requested();
      has_work = !line_.empty() && executor_.Now() >= write_at_;
    }
    if (is_over) break;
    if (has_work) continue;
    const absl::Duration wait = road_ == nullptr ? kWatchInterval : options_.unreachable_after / 4;
    wake_->WaitUntil(executor_.Now() + std::min(wait, kWriteBackoff));
  }
  CloseRoad(executor_.Now());
  write_at_ = absl::InfinitePast();
  WriteSome();
  // Nobody will write what could not be written by now.
  std::deque<Message> line;
  {
    const std::lock_guard lock(mutex_);
    line.swap(line_);
  }
  for (const Message& message : line) {
    Complete(message, absl::UnknownError("spool: closed before it was on the disk"), false);
  }
}

void SpoolingProducer::Turn() {
  const absl::Time now = executor_.Now();
  bool is_closing = false;
  {
    const std::lock_guard lock(mutex_);
    is_closing = is_closing_;
  }
  if (MustCloseRoad(now)) {
    Log(LogLevel::kWarning, "spool_begins",
        "the brokers do not answer: messages are written to the spool until they do");
    CloseRoad(now);
  }
  if (now >= write_at_) WriteSome();
  if (now >= watch_at_) {
    Watch();
    if (road_ != nullptr && disk_.is_shared() && !disk_.is_empty()) LeaveRoadToOthers(now);
  }
  if (options_.mode == SpoolMode::kWhenUnreachable && !is_closing && now >= road_at_) OpenRoad();
}

bool SpoolingProducer::MustCloseRoad(absl::Time now) {
  const std::lock_guard lock(mutex_);
  if (road_ == nullptr || travellers_.empty()) return false;
  return is_road_closing_ || now - travellers_.front().since > options_.unreachable_after;
}

// What they have spooled may be of the same keys. What is on the road has time to arrive.
void SpoolingProducer::LeaveRoadToOthers(absl::Time now) {
  Log(LogLevel::kInfo, "spool_joined",
      "another process has messages in the shared spool: messages go behind them until they are "
      "published");
  CloseRoad(now + options_.unreachable_after);
}

void SpoolingProducer::CloseRoad(absl::Time deadline) {
  std::shared_ptr<Producer> road;
  {
    const std::lock_guard lock(mutex_);
    road = std::exchange(road_, nullptr);
    is_road_closing_ = road != nullptr;
  }
  if (road == nullptr) return;
  // Whoever has just chosen the road is refused there, and comes back.
  road->Close(deadline);
  road_at_ = executor_.Now() + kRoadPause;
  const auto has_left = [this] {
    return std::all_of(travellers_.begin(), travellers_.end(),
                       [](const Traveller& traveller) { return traveller.has_failed; });
  };
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (has_left()) break;
    }
    wake_->WaitUntil(executor_.Now() + kWriteBackoff);
  }
  const std::lock_guard lock(mutex_);
  std::deque<Message> back;
  for (Traveller& traveller : travellers_) back.push_back(std::move(traveller.message));
  travellers_.clear();
  is_road_closing_ = false;
  if (ONCE_PLANTED_BUG("returned-is-forgotten") && !back.empty()) back.pop_back();
  const auto place = ONCE_PLANTED_BUG("returned-is-overtaken") ? line_.end() : line_.begin();
  line_.insert(place, std::make_move_iterator(back.begin()), std::make_move_iterator(back.end()));
}

void SpoolingProducer::OpenRoad() {
  {
    const std::lock_guard lock(mutex_);
    if (road_ != nullptr || !line_.empty()) return;
  }
  // As last counted; then as it is.
  if (!disk_.is_empty() || !disk_.Refresh().ok() || !disk_.is_empty()) return;
  ProducerOptions direct = options_.producer;
  // A topic that nobody has heard of must not keep senders waiting longer than that.
  direct.times.send_timeout = std::min(direct.times.send_timeout, options_.unreachable_after);
  absl::StatusOr<std::unique_ptr<Producer>> opened = Producer::Create(std::move(direct));
  if (!opened.ok()) {
    road_at_ = executor_.Now() + kRoadPause;
    return;
  }
  std::shared_ptr<Producer> road = *std::move(opened);
  {
    const std::lock_guard lock(mutex_);
    // Something may have come into the line meanwhile: it goes first.
    if (line_.empty()) road_.swap(road);
  }
  if (road == nullptr && last_trouble_.empty() && road_at_ != absl::InfinitePast()) {
    Log(LogLevel::kInfo, "spool_ends", "what was spooled is published: messages go directly again");
  }
}

void SpoolingProducer::WriteSome() {
  while (true) {
    std::deque<Message> batch;
    {
      const std::lock_guard lock(mutex_);
      if (is_road_closing_) return;
      std::size_t bytes = 0;
      for (const Message& message : line_) {
        bytes += message->bytes;
        const bool is_full = batch.size() == options_.limits.batch_messages_max ||
                             (bytes > kBatchBytesMax && !batch.empty());
        if (is_full) break;
        batch.push_back(message);
      }
    }
    if (batch.empty() || executor_.Now() < write_at_) return;
    Append(std::move(batch));
  }
}

// The batch is the head of the line.
void SpoolingProducer::Append(std::deque<Message> batch) {
  std::vector<Message> messages(batch.begin(), batch.end());
  ONCE_KILL_POINT("spool.before_append");
  absl::Status appended = disk_.Append(messages);
  ONCE_KILL_POINT("spool.appended");
  if (absl::IsInvalidArgument(appended) && messages.size() > 1) {
    // One of them can never be taken; alone it shows which.
    messages.resize(1);
    appended = disk_.Append(messages);
  }
  if (ONCE_PLANTED_BUG("unwritten-is-spooled")) appended = absl::OkStatus();
  if (!appended.ok() && !absl::IsInvalidArgument(appended)) {
    if (absl::IsUnknown(appended) && !ONCE_PLANTED_BUG("doubt-of-the-disk-is-forgotten")) {
      for (const Message& message : messages) message->may_be_stored = true;
    }
    write_at_ = executor_.Now() + kWriteBackoff;
    std::string trouble = appended.ToString();
    if (trouble != last_trouble_) {
      Log(LogLevel::kError, "spool_not_written", "will be tried again: " + trouble);
    }
    last_trouble_ = std::move(trouble);
    GiveUpOverdue(appended);
    return;
  }
  last_trouble_.clear();
  {
    const std::lock_guard lock(mutex_);
    line_.erase(line_.begin(), line_.begin() + static_cast<std::ptrdiff_t>(messages.size()));
  }
  for (const Message& message : messages) Complete(message, appended, appended.ok());
}

// Whoever has waited for send_timeout is told.
void SpoolingProducer::GiveUpOverdue(const absl::Status& why) {
  const absl::Time now = executor_.Now();
  std::vector<Message> overdue;
  {
    const std::lock_guard lock(mutex_);
    while (!line_.empty() && line_.front()->give_up_at <= now) {
      overdue.push_back(std::move(line_.front()));
      line_.pop_front();
    }
  }
  for (const Message& message : overdue) Complete(message, why, false);
}

void SpoolingProducer::WarnIfWeaker() {
  if (!disk_.is_shared()) return;
  const StoreTraits traits = disk_.traits();
  if (traits.durability < durability_) {
    Log(traits.durability == Durability::kNothing ? LogLevel::kError : LogLevel::kWarning,
        "spool_not_durable",
        "messages that had their outcome from the spool may be lost: " + traits.weakness);
  }
  durability_ = std::min(durability_, traits.durability);
}

void SpoolingProducer::Watch() {
  const absl::Time now = executor_.Now();
  watch_at_ = now + kWatchInterval;
  WarnIfWeaker();
  if (!disk_.Refresh().ok()) return;
  std::string why_full = disk_.WhyFull(now);
  const bool is_full = !why_full.empty();
  if (is_full && !was_full_) Log(LogLevel::kError, "spool_full", why_full);
  if (!is_full && was_full_) Log(LogLevel::kInfo, "spool_has_room", "messages are taken again");
  was_full_ = is_full;
  bool is_direct = false;
  {
    const std::lock_guard lock(mutex_);
    why_full_ = std::move(why_full);
    is_direct = road_ != nullptr;
  }
  const OutgoingCounts counts = disk_.counts();
  MetricsSink& metrics = *options_.producer.metrics;
  const absl::Duration age = std::max(absl::ZeroDuration(), now - counts.oldest);
  metrics.Set("once_spool_waiting_messages", {}, static_cast<double>(counts.waiting));
  metrics.Set("once_spool_oldest_age_seconds", {},
              counts.waiting == 0 ? 0 : absl::ToDoubleSeconds(age));
  metrics.Set("once_spool_is_full", {}, is_full ? 1 : 0);
  metrics.Set("once_spool_is_direct", {}, is_direct ? 1 : 0);
  Notify();
}

}  // namespace once
