// A SendQueue has every message of a producer that has no outcome yet: it bounds them, hands them
// to the client in the order of their partition, numbers those that the client takes, and decides
// what is sent again.
//
// Thread-safety: safe for concurrent use. No lock is held while the client is called, or while
// outcomes are told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/producer.h"
#include "once/record_client.h"
#include "src/pending_send.h"
#include "src/send_stream.h"
#include "src/spent_sends.h"

namespace once {

struct SendQueueOptions {
  ProducerLimits limits;
  ProducerTimes times;
  Stamping stamping = Stamping::kOn;
  bool has_marks = true;
  std::size_t sticky_messages = 1000;
  ProducerEpoch by;  // views: must outlive the queue
  Executor& executor;
  std::function<std::uint64_t()> random;  // called under the lock: no seam
};

// Since the last TakeCounts(), but for the gauges.
struct SendCounts {
  std::uint64_t delivered = 0;
  std::uint64_t failed = 0;   // not stored
  std::uint64_t unknown = 0;  // given up, may be stored
  std::uint64_t refused = 0;  // never given to the client
  std::uint64_t numbered = 0;
  std::uint64_t retries = 0;
  std::uint64_t marks = 0;
  std::uint64_t voids = 0;  // numbers
  std::size_t messages = 0;
  std::size_t bytes = 0;
};

class SendQueue {
 public:
  explicit SendQueue(SendQueueOptions options);
  ~SendQueue();

  // -- For senders --

  // For Add() or Refuse().
  std::shared_ptr<PendingSend> NewPending() { return spent_.Take(); }

  // Takes the message, or completes it at once with the reason why not. Waits for room, and for the
  // partition count of a topic that is new. REQUIRES: `pending` has its id, bytes and give_up_at.
  void Add(std::shared_ptr<PendingSend> pending, OutgoingMessage&& message);
  // The same for a message that is refused before it comes to that.
  void Refuse(const std::shared_ptr<PendingSend>& pending, std::string topic, absl::Status status);

  // What becomes of the messages that were added so far: those that fail from now on are collected.
  struct Collection {
    std::uint64_t up_to = 0;  // ordinal of the last one
    Undelivered undelivered;
  };
  void BeginCollecting(Collection& collection);
  // And those that have no outcome yet. REQUIRES: it has begun, and ends once.
  void EndCollecting(Collection& collection);
  // Waits until they all have their outcome, and it has been told. False: not by `deadline`.
  bool AwaitOutcomes(const Collection& collection, absl::Time deadline);
  // Waits until it is written how far the streams have come that have news now; `request` asks for
  // that, and again after each mark.
  void AwaitMarks(absl::Time deadline, const std::function<void()>& request);

  // -- For the polling task --

  std::shared_ptr<RecordClient> client() const;
  // Null: there is none now, everything waits.
  void SetClient(std::shared_ptr<RecordClient> client);
  void Apply(std::span<const RecordReport> reports);
  // Hands over what waits, gives up what has waited too long, and wakes senders for whom there is
  // room. Now and then, also where nothing happens.
  void PumpWaiting();
  // True once after an acknowledgement.
  bool TakeSuccess();
  SendCounts TakeCounts();

  // -- The end --

  // Nothing is added any more.
  void Refuse();
  // What has no outcome yet gets one as soon as the client has reported it.
  void GiveUp();
  // Nothing more is handed to the client from when it returns.
  void Halt();
  // Everything that is left gets its outcome, after the senders that are at it. REQUIRES: no client
  // has anything of it any more, nor will have.
  void Abandon(const absl::Status& reason);
  // The process is dead: as Refuse() and Abandon().
  void Die();
  bool is_dead() const;

  // -- For marks --

  // What is to be said now, voids first. Each comes back by Apply(), or by ReturnMark().
  std::vector<MarkSend*> TakeMarks();
  void ReturnMark(MarkSend* mark);
  // There is no topic for the marks of `topic` (or there is one now); voids are forgotten then.
  void SetMarkless(const std::string& topic, bool is_markless);

 private:
  using Lock = std::unique_lock<std::mutex>;

  enum class News : std::uint8_t { kAny, kRoom, kMarks };
  struct Listener {
    News waits_for = News::kAny;
    std::shared_ptr<Event> event;
  };
  // Outcomes that are decided under the lock and told without it, and who is to be woken then.
  struct Finished {
    std::vector<std::shared_ptr<PendingSend>> sends;
    bool has_marks = false;  // marks have come back
    bool has_turn = false;   // some room is room enough
    std::vector<std::shared_ptr<Event>> events;
    std::uint64_t telling = 0;  // its place in telling_; 0: none
  };
  // How far a stream's marks are to come.
  struct MarkGoal {
    SendStream* stream = nullptr;
    std::uint64_t last = 0;
  };

  absl::Status Admit(Lock& lock, PendingSend& pending, const OutgoingMessage& message);
  absl::Status LearnTopic(Lock& lock, const std::string& topic, absl::Time deadline);
  absl::Status Place(SendTopic& topic, PendingSend& pending, const OutgoingMessage& message);
  bool HasRoom(const PendingSend& pending) const;
  std::vector<MarkGoal> ListMarkGoals() const;
  bool Await(Lock& lock, Listener& listener, absl::Time deadline);
  void AwaitPumps(Lock& lock);
  void Collect(PendingSend& failed);
  // The last step under the lock, and the one after it.
  void Seal(Finished& finished);
  void Tell(Lock& lock, Finished& finished);

  SendStream& StreamOf(const std::string& topic, SendTopic& card, std::int32_t partition);
  void Link(std::shared_ptr<PendingSend> pending);
  std::shared_ptr<PendingSend> Unlink(PendingSend& pending);
  void List(SendStream& stream);

  bool CanSendAtOnce(const SendStream& stream, const PendingSend& pending) const;
  // False: no other one can be sent now.
  bool SendAtOnce(Lock& lock, PendingSend& pending, OutgoingMessage& message, Finished& finished);
  void Pump(Lock& lock, SendStream& stream, absl::Time now, Finished& finished);
  bool PumpOne(Lock& lock, SendStream& stream, PendingSend& pending, Finished& finished);
  absl::Status HandOver(Lock& lock, PendingSend& pending, const OutgoingMessage& message,
                        bool is_copied);
  // False: no other one can be sent now.
  bool TakeBack(SendStream& stream, PendingSend& pending, const absl::Status& refused,
                Finished& finished);
  void Expire(SendStream& stream, absl::Time now, Finished& finished);
  void ExpireUnanswered(absl::Time now, Finished& finished);
  void ExpireOne(PendingSend& pending, Finished& finished);
  void ReleaseLate(PendingSend& pending);
  // False: it was lost.
  bool TakeReturned(PendingSend& pending, const RecordReport& report);

  void ApplyOne(const RecordReport& report, absl::Time now, Finished& finished);
  void ApplyMark(const RecordReport& report);
  void MergeFailed(SendStream& stream);
  void AddVoid(SendStream& stream, std::uint64_t number);
  void Finish(PendingSend& pending, absl::Status status, std::int64_t offset, Finished& finished);
  void FinishGivenUp(PendingSend& pending, const absl::Status& last, Finished& finished);
  void Count(const PendingSend& pending, const absl::Status& status);

  const SendQueueOptions options_;
  SpentSends spent_;
  mutable std::mutex mutex_;
  std::shared_ptr<RecordClient> client_;
  absl::flat_hash_map<std::string, std::unique_ptr<SendTopic>> topics_;
  std::vector<SendStream*> listed_;  // for PumpWaiting()
  // All that have no outcome, in the order of Add().
  PendingSend* first_ = nullptr;
  PendingSend* last_ = nullptr;
  std::uint64_t last_ordinal_ = 0;
  // Told as given up, and the client has them still, or points at their values.
  absl::flat_hash_set<PendingSend*> late_;
  std::vector<Listener*> listeners_;
  std::vector<Collection*> collections_;
  absl::flat_hash_map<MarkSend*, std::unique_ptr<MarkSend>> marks_;
  SendCounts counts_;
  // Batches of outcomes that are being told, in order.
  std::set<std::uint64_t> telling_;
  std::uint64_t last_telling_ = 0;
  std::size_t pumping_ = 0;
  absl::Time next_turn_ = absl::InfinitePast();
  bool has_success_ = false;
  bool is_closed_ = false;
  bool is_giving_up_ = false;
  bool is_dead_ = false;
};

}  // namespace once
