// A SpoolingProducer is the Producer of a spool. What was sent waits in a line for one task, which
// writes it to the disk, many at a time; a relay publishes it from there. While the brokers are
// there, kWhenUnreachable lets messages take the direct road, and remembers them: when one has no
// answer for too long, that road is closed, everything that took it and did not arrive goes to the
// head of the line, in its order, and what follows behind it. The road opens again once nothing is
// left in line or on the disk; where that is shared, it also closes while others have something
// there.
//
// Thread-safety: safe for concurrent use. No lock is held across a call to a seam.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/outbox_relay.h"
#include "once/spool.h"
#include "src/pending_send.h"
#include "src/spool_store.h"

namespace once {

class SpoolingProducer final : public Producer {
 public:
  explicit SpoolingProducer(SpoolOptions options);
  ~SpoolingProducer() override;

  absl::Status Start();

  Ticket Send(OutgoingMessage message) override;
  void Send(OutgoingMessage message, std::function<void(const SendOutcome&)> on_outcome) override;
  Undelivered Flush(absl::Time deadline) override;
  Undelivered Close(absl::Time deadline) override;

 private:
  using Message = std::shared_ptr<PendingSend>;

  // A message on the direct road; it has a copy, since it may come back.
  struct Traveller {
    Message message;
    absl::Time since;
    bool has_failed = false;  // it must come back
  };
  using Travellers = std::list<Traveller>;

  // Waits for room, or for outcomes. Hears from when it is put among the listeners until it is
  // taken out: whoever counts what failed counts what is open under the same lock.
  struct Listener {
    std::shared_ptr<Event> event;
    Undelivered* failed = nullptr;  // collects outcomes that are not OK …
    std::uint64_t up_to = std::numeric_limits<std::uint64_t>::max();  // … of these ordinals
  };

  void Submit(Message message, OutgoingMessage content);
  absl::Status Admit(const Message& message);
  bool HasRoom(const PendingSend& message) const;
  void SendDirectly(const std::shared_ptr<Producer>& road, Travellers::iterator traveller);
  void Arrive(Travellers::iterator traveller, const SendOutcome& outcome);
  void Complete(const Message& message, absl::Status status, bool is_spooled);
  void Finish(const Message& message);
  void Await(Listener& listener, absl::Time deadline, const std::function<bool()>& is_over);
  void CountOpen(Undelivered& undelivered, std::uint64_t up_to) const;
  void Notify();

  void RunTask();
  void Turn();
  bool MustCloseRoad(absl::Time now);
  void LeaveRoadToOthers(absl::Time now);
  void CloseRoad(absl::Time deadline);
  void OpenRoad();
  void WriteSome();
  void Append(std::deque<Message> batch);
  void GiveUpOverdue(const absl::Status& why);
  void Watch();
  // Of a spool in a server, which may turn out to keep less than it did.
  void WarnIfWeaker();
  void Log(LogLevel level, std::string_view action, std::string text) const;

  const SpoolOptions options_;
  Executor& executor_;
  const std::shared_ptr<UnobservedSends> unobserved_;
  SpoolStore disk_;
  std::unique_ptr<Event> wake_;

  std::mutex mutex_;
  std::deque<Message> line_;        // for the disk
  Travellers travellers_;           // on the direct road
  std::shared_ptr<Producer> road_;  // null: closed
  // Somebody has come back: whoever follows waits in line, which stands still until all are back.
  bool is_road_closing_ = false;
  std::size_t messages_ = 0;  // in line and on the road …
  std::size_t bytes_ = 0;     // … and their bytes
  std::uint64_t last_ordinal_ = 0;
  std::set<std::uint64_t> open_;  // ordinals of messages without an outcome
  std::vector<Listener*> listeners_;
  std::string why_full_;  // empty: there is room on the disk
  bool is_closing_ = false;

  // The task's.
  absl::Time watch_at_ = absl::InfinitePast();
  absl::Time road_at_ = absl::InfinitePast();   // the road opens no sooner
  absl::Time write_at_ = absl::InfinitePast();  // after trouble with the disk
  bool was_full_ = false;
  std::string last_trouble_;
  Durability durability_ = Durability::kMachine;  // as last said

  bool is_closed_ = false;
  std::stop_source relay_stop_;
  std::unique_ptr<OutboxRelay> relay_;
  std::unique_ptr<Task> relay_task_;
  std::stop_source stop_;
  std::unique_ptr<Task> task_;
};

}  // namespace once
