// Appending, counting.
#include "src/spool_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/transact.h"

namespace once {
namespace {

// Messages of one portion of what was found; its bytes stop counting once all of them are gone.
constexpr std::size_t kFoundTogether = 1000;

}  // namespace

SpoolStore::SpoolStore(std::shared_ptr<DedupStore> store, const SpoolLimits& limits)
    : store_(std::move(store)), log_(*store_->transactions()->outgoing()), limits_(limits) {}

absl::Status SpoolStore::Open() {
  if (absl::Status counted = Refresh(); !counted.ok()) return counted;
  const std::size_t found = counts().waiting;
  if (found == 0) return absl::OkStatus();
  const absl::StatusOr<std::uint64_t> bytes = log_.MeasureBytes();
  if (absl::IsUnimplemented(bytes.status())) return absl::OkStatus();
  if (!bytes.ok()) return bytes.status();
  const std::lock_guard lock(mutex_);
  // As if it had been put there in batches of messages of one size.
  for (std::size_t left = found; left > 0;) {
    const std::size_t messages = std::min(left, kFoundTogether);
    const double share = static_cast<double>(messages) / static_cast<double>(found);
    const Portion portion{.messages = messages,
                          .bytes = static_cast<std::size_t>(share * static_cast<double>(*bytes))};
    portions_.push_back(portion);
    bytes_ += portion.bytes;
    messages_ += messages;
    left -= messages;
  }
  return absl::OkStatus();
}

absl::Status SpoolStore::Append(std::span<const std::shared_ptr<PendingSend>> messages) {
  Portion portion{.messages = messages.size()};
  for (const std::shared_ptr<PendingSend>& message : messages) portion.bytes += message->bytes;
  absl::Status appended = Transact(*store_, [&](Transaction& transaction) -> absl::Status {
    for (const std::shared_ptr<PendingSend>& message : messages) {
      if (absl::Status put = transaction.Publish(message->message); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
  if (!appended.ok()) return appended;
  const std::lock_guard lock(mutex_);
  portions_.push_back(portion);
  bytes_ += portion.bytes;
  messages_ += portion.messages;
  counts_.waiting += portion.messages;
  return appended;
}

absl::Status SpoolStore::Refresh() {
  const absl::StatusOr<OutgoingCounts> counts = log_.Count();
  if (!counts.ok()) return counts.status();
  const std::lock_guard lock(mutex_);
  counts_ = *counts;
  while (!portions_.empty() && messages_ - portions_.front().messages >= counts_.waiting) {
    messages_ -= portions_.front().messages;
    bytes_ -= portions_.front().bytes;
    portions_.pop_front();
  }
  return absl::OkStatus();
}

std::string SpoolStore::WhyFull(absl::Time now) const {
  const std::lock_guard lock(mutex_);
  std::string why;
  if (counts_.waiting >= limits_.messages_max) {
    why = absl::StrCat(counts_.waiting, " messages wait in the spool (limits.messages_max)");
  } else if (bytes_ >= limits_.bytes_max) {
    why = absl::StrCat(bytes_, " bytes wait in the spool (limits.bytes_max)");
  } else if (counts_.waiting > 0 && now - counts_.oldest > limits_.age_max) {
    why = absl::StrCat("the oldest message in the spool has waited for ",
                       absl::FormatDuration(now - counts_.oldest), " (limits.age_max)");
  } else {
    return why;
  }
  if (counts_.parked == 0) return why + "; are the brokers there?";
  return absl::StrCat(why, "; ", counts_.parked,
                      " are parked, and others of their keys behind them: see `once outbox list`");
}

bool SpoolStore::is_empty() const {
  const std::lock_guard lock(mutex_);
  return counts_.waiting == 0;
}

OutgoingCounts SpoolStore::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace once
