// Sending in order, and again in order.
#include "src/relay_sender.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "src/stores/outgoing_codec.h"
#include "src/test_hooks.h"

namespace once {
namespace {

using State = FlyingRow::State;

// How long the last reports of a client that broke are waited for. Without a report a record is
// sent again, which its number makes harmless.
constexpr absl::Duration kLastReports = absl::Seconds(2);

// FNV-1a, 64 bits: the same in every process and version, as ids must be.
std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return hash;
}

bool IsUnsettled(const FlyingRow& row) {
  return row.state != State::kAcknowledged && row.state != State::kGone;
}

}  // namespace

RelaySender::RelaySender(RecordClientFactory clients, Executor& executor,
                         absl::Duration retry_interval, Ids ids)
    : clients_(std::move(clients)),
      executor_(executor),
      retry_interval_(retry_interval),
      ids_{.header = std::move(ids.header),
           .producer = absl::StrCat(absl::Hex(HashOf(ids.producer), absl::kZeroPad16)),
           .is_number_enough = ids.is_number_enough} {}

void RelaySender::Add(std::unique_ptr<Flight> flight) {
  flight->next = 0;
  flight->unsettled = flight->rows.size();
  for (FlyingRow& row : flight->rows) {
    row.flight = flight.get();
    if (row.row.damage.ok()) {
      GiveId(row);
    } else {
      Refuse(row, row.row.damage);
    }
  }
  flights_.push_back(std::move(flight));
}

// Whose row it is, its number and when it was committed: all of that is in the row, so that the id
// stays when the row is parked, or restored from a backup, and gets another sequence number. The
// time tells it from a row that had its number before a backup was restored.
void RelaySender::GiveId(FlyingRow& row) const {
  std::vector<OwnedHeader>& headers = row.row.message.headers;
  const bool has_id = ids_.header.empty() ||
                      std::any_of(headers.begin(), headers.end(),
                                  [&](const auto& header) { return header.name == ids_.header; });
  if (has_id) return;
  headers.push_back({ids_.header, absl::StrCat(ids_.producer, "/", row.row.number, "/",
                                               absl::ToUnixMicros(row.row.put_at))});
}

RecordClient* RelaySender::client() {
  if (client_ != nullptr || executor_.Now() < retry_at_) return client_.get();
  absl::StatusOr<std::unique_ptr<RecordClient>> opened = clients_({.has_no_gaps = true});
  status_ = opened.status();
  if (opened.ok()) {
    client_ = *std::move(opened);
  } else {
    retry_at_ = executor_.Now() + retry_interval_;
  }
  return client_.get();
}

void RelaySender::Refuse(FlyingRow& row, const absl::Status& why) {
  row.state = State::kRefused;
  row.refusal = why;
  has_refused_ = true;
}

bool RelaySender::SendRow(FlyingRow& row) {
  if ((row.is_alone || is_alone_inside_) && client_->CountInside() > 0) return false;
  is_alone_inside_ = row.is_alone;
  if (ONCE_PLANTED_BUG("key-forgotten")) row.row.message.key.reset();
  char buffer[kStampBytesMax];
  const std::string_view stamp =
      EncodeStamp(row.stream->name, row.placement.sequence, ids_.is_number_enough, buffer);
  const absl::Status sent = client_->TrySend({.message = row.row.message,
                                              .partition = row.placement.partition,
                                              .stamp = stamp,
                                              .cookie = &row});
  if (sent.ok()) {
    row.state = State::kSent;
    return true;
  }
  if (sent.code() == absl::StatusCode::kInvalidArgument) {
    Refuse(row, sent);
  } else if (sent.code() == absl::StatusCode::kResourceExhausted) {
    was_full_ = true;
  } else {
    must_replace_ = true;
    trouble_.Update(sent);
  }
  return false;
}

void RelaySender::Send() {
  was_full_ = false;
  // What is behind a refused row must not overtake it.
  if (has_refused_ || client() == nullptr) return;
  for (const std::unique_ptr<Flight>& flight : flights_) {
    for (; flight->next < flight->rows.size(); ++flight->next) {
      FlyingRow& row = flight->rows[flight->next];
      if (row.state == State::kUnsent && !SendRow(row)) {
        if (must_replace_) Replace();
        return;
      }
    }
  }
}

void RelaySender::Report(const RecordReport& report) {
  FlyingRow& row = *static_cast<FlyingRow*>(report.cookie);
  if (row.state != State::kSent) return;
  if (report.status.ok() || ONCE_PLANTED_BUG("report-is-acknowledgement")) {
    row.state = State::kAcknowledged;
    row.offset = report.offset;
    --row.flight->unsettled;
    return;
  }
  // Whatever it was, nothing may be stored behind it before it is: another client begins there.
  must_replace_ = true;
  const bool is_too_large = report.status.code() == absl::StatusCode::kOutOfRange;
  const bool was_alone = std::exchange(row.is_alone, row.is_alone || is_too_large);
  if (report.status.code() == absl::StatusCode::kInvalidArgument ||
      (absl::IsUnavailable(report.status) && ONCE_PLANTED_BUG("unavailable-is-refused"))) {
    Refuse(row, report.status);
  } else if (is_too_large && was_alone) {
    Refuse(row, absl::InvalidArgumentError(report.status.message()));
  } else {
    trouble_.Update(report.status);
  }
}

void RelaySender::Poll(absl::Time deadline) {
  if (client_ == nullptr) return;
  client_->Poll(deadline, [this](std::span<const RecordReport> reports) {
    for (const RecordReport& report : reports) Report(report);
  });
  ONCE_KILL_POINT("outbox_relay.reported");
  if (const absl::Status status = client_->status(); !status.ok()) {
    must_replace_ = true;
    trouble_.Update(status);
  }
  if (must_replace_) Replace();
}

void RelaySender::Replace() {
  client_->Purge();
  const absl::Time deadline = executor_.Now() + kLastReports;
  while (client_->CountInside() > 0 && executor_.Now() < deadline) {
    const std::size_t before = client_->CountInside();
    client_->Poll(deadline, [this](std::span<const RecordReport> reports) {
      for (const RecordReport& report : reports) Report(report);
    });
    // A clock that stands still must not keep us here.
    if (client_->CountInside() == before) break;
  }
  client_.reset();
  must_replace_ = false;
  retry_at_ = executor_.Now() + retry_interval_;
  for (const std::unique_ptr<Flight>& flight : flights_) {
    flight->next = 0;
    for (FlyingRow& row : flight->rows) {
      if (row.state == State::kSent) row.state = State::kUnsent;
    }
  }
}

std::vector<FlyingRow*> RelaySender::FindRefused() {
  std::vector<FlyingRow*> refused;
  if (!has_refused_) return refused;
  absl::flat_hash_set<std::uint64_t> orders;
  for (const std::unique_ptr<Flight>& flight : flights_) {
    for (FlyingRow& row : flight->rows) {
      if (!IsUnsettled(row) || (row.state != State::kRefused && orders.empty())) continue;
      const std::uint64_t order = stores::OrderOf(row.row.message);
      if (order != 0 && orders.contains(order) && !ONCE_PLANTED_BUG("refused-is-overtaken")) {
        // Once the first one is let go, this one is tried, even if it was refused too.
        row.state = State::kBehind;
      } else if (row.state == State::kRefused && order != 0) {
        orders.insert(order);
      }
      if (row.state == State::kRefused || row.state == State::kBehind) refused.push_back(&row);
    }
  }
  return refused;
}

void RelaySender::DropRefused() {
  for (const std::unique_ptr<Flight>& flight : flights_) {
    for (FlyingRow& row : flight->rows) {
      if (row.state != State::kRefused && row.state != State::kBehind) continue;
      row.state = State::kGone;
      --flight->unsettled;
    }
  }
  has_refused_ = false;
}

std::vector<std::unique_ptr<Flight>> RelaySender::TakeFinished() {
  std::vector<std::unique_ptr<Flight>> finished;
  while (!flights_.empty() && flights_.front()->unsettled == 0) {
    finished.push_back(std::move(flights_.front()));
    flights_.pop_front();
  }
  return finished;
}

void RelaySender::Reset() {
  // First: it may still point at values of rows.
  client_.reset();
  flights_.clear();
  must_replace_ = false;
  has_refused_ = false;
  was_full_ = false;
}

}  // namespace once
