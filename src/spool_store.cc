// Appending, counting.
#include "src/spool_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/transact.h"

namespace once {
namespace {

// Messages of one portion of what was found; its bytes stop counting once all of them are gone.
constexpr std::size_t kFoundTogether = 1000;

}  // namespace

SpoolStore::SpoolStore(std::shared_ptr<DedupStore> store, std::shared_ptr<SpoolLog> shared,
                       const SpoolLimits& limits)
    : store_(std::move(store)),
      shared_(std::move(shared)),
      log_(is_shared() ? shared_->outgoing() : *store_->transactions()->outgoing()),
      limits_(limits) {}

StoreTraits SpoolStore::traits() const {
  return is_shared() ? shared_->traits() : store_->traits();
}

absl::Status SpoolStore::Open() {
  if (absl::Status counted = Refresh(); !counted.ok()) return counted;
  if (is_shared()) return absl::OkStatus();
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
  if (is_shared()) return AppendShared(messages);
  const Portion portion = PortionOf(messages);
  absl::Status appended = Transact(*store_, [&](Transaction& transaction) -> absl::Status {
    for (const std::shared_ptr<PendingSend>& message : messages) {
      if (absl::Status put = transaction.Publish(message->message()); !put.ok()) return put;
    }
    return absl::OkStatus();
  });
  if (appended.ok()) Note(portion);
  return appended;
}

SpoolStore::Portion SpoolStore::PortionOf(std::span<const Message> messages) {
  Portion portion{.messages = messages.size()};
  for (const Message& message : messages) portion.bytes += message->bytes;
  return portion;
}

void SpoolStore::Note(const Portion& portion) {
  const std::lock_guard lock(mutex_);
  bytes_ += portion.bytes;
  counts_.waiting += portion.messages;
  if (is_shared()) return;
  portions_.push_back(portion);
  messages_ += portion.messages;
}

// Those of its messages that have been given up meanwhile were told that they may be stored.
absl::Status SpoolStore::ResolveDoubt() {
  if (doubted_.empty()) return absl::OkStatus();
  const absl::StatusOr<bool> are_there = shared_->Resolve(append_);
  if (!are_there.ok()) {
    return absl::UnavailableError(absl::StrCat("nobody says yet what became of the last write: ",
                                               ToAbsl(ToStd(are_there.status().message()))));
  }
  if (*are_there) stored_.insert(stored_.end(), doubted_.begin(), doubted_.end());
  doubted_.clear();
  return absl::OkStatus();
}

absl::Status SpoolStore::AppendShared(std::span<const Message> messages) {
  if (absl::Status resolved = ResolveDoubt(); !resolved.ok()) return resolved;
  std::vector<Message> missing;
  for (const Message& message : messages) {
    if (std::find(stored_.begin(), stored_.end(), message) == stored_.end()) {
      missing.push_back(message);
    }
  }
  if (!missing.empty()) {
    std::vector<const OutgoingMessage*> contents;
    for (const Message& message : missing) contents.push_back(&message->message());
    append_ = shared_->NewNumber();
    const absl::Status appended = shared_->Append({.number = append_,
                                                   .messages = contents,
                                                   .messages_max = limits_.messages_max,
                                                   .bytes_max = limits_.bytes_max});
    if (absl::IsUnknown(appended)) doubted_ = std::move(missing);
    if (!appended.ok()) return appended;
    Note(PortionOf(missing));
  }
  std::erase_if(stored_, [&](const Message& message) {
    const bool is_told = std::find(messages.begin(), messages.end(), message) != messages.end();
    return is_told || message->is_done();  // or it was given up
  });
  return absl::OkStatus();
}

absl::Status SpoolStore::Refresh() {
  if (absl::Status resolved = ResolveDoubt(); !resolved.ok()) return resolved;
  const absl::StatusOr<OutgoingCounts> counts = log_.Count();
  if (!counts.ok()) return counts.status();
  absl::StatusOr<std::uint64_t> bytes = std::uint64_t{0};
  if (is_shared()) bytes = log_.MeasureBytes();
  if (!bytes.ok()) return bytes.status();
  const std::lock_guard lock(mutex_);
  counts_ = *counts;
  if (is_shared()) {
    bytes_ = static_cast<std::size_t>(*bytes);
    return absl::OkStatus();
  }
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
