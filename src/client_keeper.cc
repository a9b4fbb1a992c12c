// The task that polls.
#include "src/client_keeper.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/retry.h"

namespace once {
namespace {

// What waits for the client is tried again, and expires, this often at least.
constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kReportInterval = absl::Seconds(1);
// A client reports what it is made to give up at once.
constexpr absl::Duration kDrainTime = absl::Seconds(5);

double Fraction(std::uint64_t random) { return static_cast<double>(random >> 11) / 0x1p53; }

}  // namespace

absl::Status ClientKeeper::Start() {
  if (absl::Status opened = Open(); !opened.ok()) return opened;
  task_ = options_.executor.Spawn("once-producer", [this] { RunTask(); });
  return absl::OkStatus();
}

void ClientKeeper::Stop() {
  is_stopping_ = true;
  wake_->Set();
  if (const auto client = options_.queue.client(); client != nullptr) client->Wake();
  task_.reset();
  options_.queue.Halt();
  Drain();
  options_.queue.SetClient(nullptr);
  Report(absl::InfiniteFuture());
}

// A sender that asks for partitions may have the client still when we have dropped it: nothing of
// ours may be inside then, or it would send from memory that is nobody's.
void ClientKeeper::Drain() {
  const auto client = options_.queue.client();
  if (client == nullptr || options_.queue.is_dead() || client->CountInside() == 0) return;
  client->Purge();
  const absl::Time deadline = options_.executor.Now() + kDrainTime;
  while (client->CountInside() > 0 && options_.executor.Now() < deadline) {
    client->Poll(deadline,
                 [this](std::span<const RecordReport> reports) { options_.queue.Apply(reports); });
  }
}

void ClientKeeper::Purge() {
  const auto client = options_.queue.client();
  if (client == nullptr) return;
  client->Purge();
  client->Wake();
}

absl::Status ClientKeeper::Open() {
  auto client = options_.clients({.delivery_timeout = options_.times.delivery_timeout});
  if (client.ok()) options_.queue.SetClient(*std::move(client));
  return client.status();
}

void ClientKeeper::RunTask() {
  while (!is_stopping_ && !options_.queue.is_dead()) {
    if (const auto client = options_.queue.client(); client != nullptr) {
      Serve(client);
    } else {
      Reopen();
    }
    options_.queue.PumpWaiting();
    Report(options_.executor.Now());
  }
}

void ClientKeeper::Serve(const std::shared_ptr<RecordClient>& client) {
  client->Poll(options_.executor.Now() + kTurn,
               [this](std::span<const RecordReport> reports) { options_.queue.Apply(reports); });
  if (options_.queue.TakeSuccess()) reopenings_ = 0;
  const absl::Status status = client->status();
  if (status.ok()) return;
  if (absl::IsCancelled(status)) return options_.queue.Die();
  if (client->CountInside() == 0) Replace(status);
}

void ClientKeeper::Replace(const absl::Status& broken) {
  options_.queue.SetClient(nullptr);
  const absl::Duration delay = BackoffDelay(options_.times.reopen, std::min(++reopenings_, 30),
                                            Fraction(options_.random.Next()));
  next_opening_ = options_.executor.Now() + delay;
  options_.metrics.Add("once_producer_clients_replaced_total", {}, 1);
  options_.log.Log(
      {.level = LogLevel::kWarning,
       .time = options_.executor.Now(),
       .action = "client_replaced",
       .message = absl::StrCat("another client sends again what has no answer yet, in ",
                               absl::FormatDuration(delay), ": ", broken.message()),
       .fields = {}});
}

void ClientKeeper::Reopen() {
  const absl::Time now = options_.executor.Now();
  if (now < next_opening_) {
    wake_->WaitUntil(std::min(next_opening_, now + kTurn));
    return;
  }
  if (const absl::Status opened = Open(); !opened.ok()) Replace(opened);
}

void ClientKeeper::Report(absl::Time now) {
  if (now < next_report_) return;
  next_report_ = now + kReportInterval;
  const SendCounts counts = options_.queue.TakeCounts();
  const std::array<std::pair<std::string_view, std::uint64_t>, 4> outcomes = {
      {{"delivered", counts.delivered},
       {"failed", counts.failed},
       {"unknown", counts.unknown},
       {"refused", counts.refused}}};
  for (const auto& [name, count] : outcomes) {
    if (count == 0) continue;
    const Label label{.name = "outcome", .value = name};
    options_.metrics.Add("once_producer_messages_total", std::span(&label, 1),
                         static_cast<double>(count));
  }
  const std::array<std::pair<std::string_view, std::uint64_t>, 5> totals = {
      {{"once_producer_numbered_total", counts.numbered},
       {"once_producer_retries_total", counts.retries},
       {"once_producer_marks_total", counts.marks},
       {"once_producer_voids_total", counts.voids},
       {"once_producer_unobserved_total", options_.unobserved.TakeCount()}}};
  for (const auto& [name, count] : totals) {
    if (count > 0) options_.metrics.Add(name, {}, static_cast<double>(count));
  }
  options_.metrics.Set("once_producer_queue_messages", {}, static_cast<double>(counts.messages));
  options_.metrics.Set("once_producer_queue_bytes", {}, static_cast<double>(counts.bytes));
}

}  // namespace once
