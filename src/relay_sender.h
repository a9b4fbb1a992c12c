// RelaySender has the rounds of a relay that are on their way: it sends their rows in order, hears
// what became of each, and opens another client when one has broken. It sends; what is refused or
// finished it only tells.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/outgoing_log.h"
#include "once/record_client.h"
#include "src/relay_streams.h"

namespace once {

struct Flight;

struct FlyingRow {
  enum class State : std::uint8_t {
    kUnsent,
    kSent,
    kAcknowledged,
    kRefused,  // no retry can publish it
    kBehind,   // not sent: behind a refused one of its order
    kGone,     // it has left its round
  };

  OutgoingRow row;
  Placement placement;
  RelayStream* stream = nullptr;  // null: the row is damaged, and its topic unknown
  Flight* flight = nullptr;
  State state = State::kUnsent;
  std::int64_t offset = -1;
  bool is_alone = false;  // to be sent without others: with them it was too large
  absl::Status refusal = {};
};

// A round on its way. Stays where it is as long as a client may report of it.
struct Flight {
  OutgoingRound round;  // its placements lie in the rows
  std::vector<FlyingRow> rows;
  std::size_t next = 0;       // before it, nothing is unsent
  std::size_t unsettled = 0;  // neither acknowledged nor gone
};

class RelaySender {
 public:
  // What names messages. `header`: OutboxRelayOptions::id_header; `producer`: the log's.
  struct Ids {
    std::string header;
    std::string producer;
    bool is_number_enough = true;  // OutboxRelayOptions::has_all_copies
  };
  RelaySender(RecordClientFactory clients, Executor& executor, absl::Duration retry_interval,
              Ids ids);

  // Rows that are damaged are refused at once.
  void Add(std::unique_ptr<Flight> flight);
  const std::deque<std::unique_ptr<Flight>>& flights() const { return flights_; }

  // Null: none could be opened; status() says why, and retry_at() when it is worth another try.
  RecordClient* client();
  const absl::Status& status() const { return status_; }
  // Why the last client broke, told once; OK: none has.
  absl::Status TakeTrouble() { return std::exchange(trouble_, absl::OkStatus()); }

  // Hands over what is unsent and finds room.
  void Send();
  // Hears reports until the first ones, at the latest until `deadline`.
  void Poll(absl::Time deadline);
  // True while reports are to come.
  bool is_waiting() const { return client_ != nullptr && client_->CountInside() > 0; }
  // The client has taken nothing more, though nothing is inside that could leave it.
  bool is_stuck() const { return was_full_ && client_ != nullptr && client_->CountInside() == 0; }
  void Wake() {
    if (client_ != nullptr) client_->Wake();
  }

  // Refused rows, and those behind one of them, by state. Stay what they are until DropRefused().
  std::vector<FlyingRow*> FindRefused();
  void DropRefused();
  // Rounds that are settled, oldest first.
  std::vector<std::unique_ptr<Flight>> TakeFinished();

  // Forgets everything. Records on their way may still be stored.
  void Reset();

 private:
  void GiveId(FlyingRow& row) const;
  // False: go no further now.
  bool SendRow(FlyingRow& row);
  void Report(const RecordReport& report);
  // Hears the last of a client that is no good any more; what it has not stored is unsent again.
  void Replace();
  void Refuse(FlyingRow& row, const absl::Status& why);

  const RecordClientFactory clients_;
  Executor& executor_;
  const absl::Duration retry_interval_;
  const Ids ids_;
  std::deque<std::unique_ptr<Flight>> flights_;
  std::unique_ptr<RecordClient> client_;
  absl::Time retry_at_ = absl::InfinitePast();
  absl::Status status_;
  absl::Status trouble_;
  bool must_replace_ = false;
  bool has_refused_ = false;
  bool is_alone_inside_ = false;  // nothing may join what the client has
  bool was_full_ = false;         // when it was sent to last
};

}  // namespace once
