// Each rule next to the event at which it is judged.
#include "src/testing/producing_invariants.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/header_text.h"

namespace once::testing {
namespace {

// How much later than delivery_timeout an outcome may come: what the producer waits for an answer
// of the client, and turns of its tasks.
constexpr absl::Duration kAnswerTime = absl::Seconds(5);

bool IsDoubtful(const absl::Status& status) { return absl::IsUnknown(status); }

}  // namespace

ProducingInvariants::ProducingInvariants(InvariantChecker& checker, FiberScheduler& scheduler,
                                         std::string topic, const Producing& producing,
                                         absl::Duration gap_grace, Listener on_stored)
    : checker_(checker),
      scheduler_(scheduler),
      topic_(std::move(topic)),
      producing_(producing),
      too_large_(producing.too_large),
      ledger_(checker, scheduler, topic_, gap_grace,
              [this](const std::string& stream, std::uint64_t number) {
                const auto taken = taken_.find({stream, number});
                return taken != taken_.end() && IsGivenUp(sends_[taken->second]);
              }),
      on_stored_(std::move(on_stored)) {}

std::string ProducingInvariants::Show(std::size_t number) const {
  return absl::StrCat("message ", sends_[number].post, " (send ", number, ")");
}

void ProducingInvariants::Record(std::string_view who, std::size_t number,
                                 std::string_view what) const {
  if (!checker_.is_recording()) return;
  checker_.Record(who, absl::StrCat(Show(number), " ", ToAbsl(what)));
}

// -- The program --

std::size_t ProducingInvariants::OnSend(int life, std::size_t post,
                                        const OutgoingMessage& message) {
  sends_.push_back({.post = post,
                    .life = life,
                    .message = message,
                    .began = ++clock_,
                    .time = scheduler_.Now()});
  Record("program", sends_.size() - 1, "is sent");
  return sends_.size() - 1;
}

void ProducingInvariants::OnReturn(std::size_t number) {
  sends_[number].returned = ++clock_;
  look_();
  const int life = sends_[number].life;
  const auto open = std::count_if(sends_.begin(), sends_.end(), [life](const Send& send) {
    return send.life == life && send.returned != 0 && !send.outcome.has_value();
  });
  if (static_cast<std::size_t>(open) <= producing_.messages_max) return;
  Fail(Check::kTold, absl::StrCat(open, " messages are taken and have no outcome; there may be ",
                                  producing_.messages_max));
}

void ProducingInvariants::OnTold(std::size_t number, const SendOutcome& outcome) {
  Send& send = sends_[number];
  if (send.is_over) return;
  Record("program", number,
         absl::StrCat("is told: ", outcome.status.ToString(), outcome.is_spooled ? ", spooled" : "",
                      ", number ", outcome.sequence, " at offset ", outcome.offset));
  if (send.outcome.has_value()) {
    return Fail(Check::kTold, Show(number) + " has two outcomes");
  }
  send.outcome = outcome;
  if (scheduler_.Now() - send.time > Lateness()) {
    Fail(Check::kTold,
         absl::StrCat(Show(number), " has its outcome ",
                      absl::FormatDuration(scheduler_.Now() - send.time), " after it was sent"));
  }
  CheckTold(number, outcome);
}

// Only what stands still on purpose is excused.
absl::Duration ProducingInvariants::Lateness() const {
  return producing_.send_timeout + producing_.delivery_timeout + kAnswerTime +
         absl::Seconds(2) * scheduler_.oracle().faults_used();
}

void ProducingInvariants::CheckTold(std::size_t number, const SendOutcome& outcome) {
  const Send& send = sends_[number];
  const std::string id = HeaderText(send.message.headers, "id");
  if (outcome.id != id || outcome.topic != topic_) {
    Fail(Check::kTold,
         absl::StrCat(Show(number), " is told of as ", outcome.id, " in ", outcome.topic));
  }
  if (outcome.status.ok()) {
    return outcome.is_spooled ? CheckSpooled(number) : CheckAcknowledged(number, outcome);
  }
  if (absl::IsCancelled(outcome.status)) {
    Fail(Check::kTold, Show(number) + " is told that its process is dead, and it is alive");
  }
  if (IsDoubtful(outcome.status)) return;
  if (send.is_stored || send.is_in_store) {
    Fail(Check::kTold, absl::StrCat(Show(number), " is there, and its sender is told: ",
                                    outcome.status.ToString()));
  }
}

void ProducingInvariants::CheckAcknowledged(std::size_t number, const SendOutcome& outcome) {
  if (producing_.road == Road::kWriteAhead) {
    Fail(Check::kTold, Show(number) + " did not go to the disk first");
  }
  for (const auto& [stream, given] : sends_[number].numbers) {
    if (given != outcome.sequence || !ledger_.IsDeclared({stream, given})) continue;
    Fail(Check::kNumbers, Show(number) + " has arrived, and its number is declared void");
  }
  const bool is_there = std::any_of(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    return copy.send == number && copy.partition == outcome.partition &&
           copy.offset == outcome.offset && copy.sequence == outcome.sequence;
  });
  if (is_there) return;
  Fail(Check::kTold,
       absl::StrCat(Show(number), " is told to lie at offset ", outcome.offset, " of partition ",
                    outcome.partition, " as number ", outcome.sequence, ", and it does not"));
}

void ProducingInvariants::CheckSpooled(std::size_t number) {
  if (!has_spool()) return Fail(Check::kTold, Show(number) + " is spooled, and there is no spool");
  if (sends_[number].is_stored) return;
  // The store's own record of what is synced is made up to date when it is asked for.
  const auto& rows = const_cast<FakeStore*>(store_)->SyncedState().outgoing.rows;
  const bool is_there = std::any_of(rows.begin(), rows.end(), [number](const auto& row) {
    return NumberInHeader(row.second.message, kSendHeader) == number;
  });
  if (is_there) return;
  Fail(Check::kTold, Show(number) + " is told to be spooled, and its machine may forget it");
}

std::vector<std::size_t> ProducingInvariants::FindOpen(int life) {
  look_();
  std::vector<std::size_t> open;
  for (std::size_t number = 0; number < sends_.size(); ++number) {
    const Send& send = sends_[number];
    if (send.life == life && send.returned != 0 && !send.outcome) open.push_back(number);
  }
  return open;
}

// Each has its outcome now, or is in the list; what has failed is in the list.
void ProducingInvariants::OnAnswer(const std::vector<std::size_t>& open,
                                   const Undelivered& undelivered, bool is_end) {
  look_();
  for (const SendOutcome& one : undelivered.messages) {
    if (one.status.ok()) Fail(Check::kTold, "what has arrived is called undelivered: " + one.id);
  }
  for (const std::size_t number : open) {
    const Send& send = sends_[number];
    const std::string id = HeaderText(send.message.headers, "id");
    const bool is_listed = std::any_of(undelivered.messages.begin(), undelivered.messages.end(),
                                       [&id](const SendOutcome& one) { return one.id == id; });
    const bool is_open = !send.outcome.has_value();
    if (is_open && is_end) Fail(Check::kTold, Show(number) + " has no outcome at the end");
    if (is_listed || (!is_open && send.outcome->status.ok())) continue;
    Fail(Check::kTold, Show(number) + " was not delivered, and is not in the list of those");
  }
}

bool ProducingInvariants::AreTold(int life, std::size_t since) const {
  for (std::size_t number = since; number < sends_.size(); ++number) {
    if (sends_[number].life == life && !is_told(number)) return false;
  }
  return true;
}

void ProducingInvariants::CheckOverdue(int life) {
  for (std::size_t number = 0; number < sends_.size(); ++number) {
    const Send& send = sends_[number];
    if (send.life != life || is_told(number)) continue;
    if (scheduler_.Now() - send.time <= Lateness()) continue;
    return Fail(Check::kTold, Show(number) + " waits for its outcome for too long");
  }
}

void ProducingInvariants::OnEnd(int life) {
  for (Send& send : sends_) {
    if (send.life == life) send.is_over = true;
  }
}

bool ProducingInvariants::IsSettled(std::size_t post) const {
  return std::any_of(sends_.begin(), sends_.end(), [post](const Send& send) {
    return send.post == post && send.outcome.has_value() &&
           (send.outcome->status.ok() || absl::IsInvalidArgument(send.outcome->status));
  });
}

// -- The client --

void ProducingInvariants::CheckTurn(std::size_t number, std::string_view what,
                                    const std::function<bool(const Send& before)>& may_pass) {
  look_();
  const Send& send = sends_[number];
  for (std::size_t i = 0; i < number; ++i) {
    const Send& before = sends_[i];
    const bool is_before = before.life == send.life && before.returned != 0 &&
                           before.returned < send.began && before.message.key == send.message.key;
    if (!is_before || may_pass(before)) continue;
    return Fail(Check::kOrder,
                absl::StrCat(Show(number), " ", ToAbsl(what), " before ", Show(i),
                             " of its key, which was sent before it and has no outcome"));
  }
}

void ProducingInvariants::OnOffered(int client, bool is_relay, const OutgoingRecord& record) {
  const std::optional<std::size_t> number = NumberInHeader(record.message, kSendHeader);
  if (!number || *number >= sends_.size()) {
    return Fail(Check::kMisuse, "a client is given a message that nobody has sent");
  }
  if (is_relay) return;
  // What a failed one overtakes is said at delivery_timeout.
  CheckTurn(*number, "is sent", [&](const Send& before) {
    const bool is_overdue = producing_.road == Road::kDirect &&
                            scheduler_.Now() - before.time >= producing_.delivery_timeout;
    if (before.inside == client || before.is_final || is_overdue) return true;
    if (!before.outcome.has_value()) return false;
    return !before.outcome->is_spooled || before.is_stored || !before.is_in_store;
  });
}

void ProducingInvariants::OnTaken(int client, bool is_relay, const OutgoingRecord& record) {
  const std::optional<std::size_t> number = NumberInHeader(record.message, kSendHeader);
  if (!number || *number >= sends_.size()) return;
  Send& send = sends_[*number];
  Record(is_relay ? "relay" : "producer", *number,
         absl::StrCat("goes to client ", client, " for partition ", record.partition));
  if (!is_relay) CheckNumber(send, record);
  send.is_final = false;
  send.inside = client;
}

// The outcome may be told a little later than the next one is sent.
void ProducingInvariants::OnRefused(std::size_t number, const absl::Status& status) {
  if (absl::IsInvalidArgument(status)) sends_[number].is_final = true;
}

// Numbers are given in the order in which the client takes records, each once.
void ProducingInvariants::CheckNumber(Send& send, const OutgoingRecord& record) {
  const std::optional<SequenceStamp> stamp =
      DecodeStamp(record.stamp, record.message.topic, record.partition);
  if (!stamp) return Fail(Check::kNumbers, "a message is sent without a number");
  const std::string stream(stamp->stream);
  const auto number = static_cast<std::size_t>(&send - sends_.data());
  const auto [known, is_new] = send.numbers.try_emplace(stream, stamp->sequence);
  if (!is_new && known->second != stamp->sequence) {
    return Fail(Check::kNumbers,
                absl::StrCat(Show(number), " is number ", known->second, " of ", stream,
                             ", and it is sent as number ", stamp->sequence));
  }
  if (!is_new) return;
  std::uint64_t& last = last_[stream];
  if (stamp->sequence != last + 1) {
    Fail(Check::kNumbers, absl::StrCat(Show(number), " is number ", stamp->sequence, " of ", stream,
                                       ", behind number ", last));
  }
  last = stamp->sequence;
  taken_.emplace(StreamLedger::Number(stream, stamp->sequence), number);
}

void ProducingInvariants::OnReport(int client, std::size_t number, const absl::Status& status) {
  Send& send = sends_[number];
  Record("client", number, "is reported: " + status.ToString());
  if (send.inside == client) send.inside = 0;
  if (absl::IsInvalidArgument(status)) send.is_final = true;
}

void ProducingInvariants::OnClientEnd(int client) {
  for (Send& send : sends_) {
    if (send.inside == client) send.inside = 0;
  }
}

// Its sender was, or is about to be, told that it is not known to be stored. What died with its
// process may have been on the way to that.
bool ProducingInvariants::IsGivenUp(const Send& send) const {
  if (send.outcome.has_value()) {
    const bool went_back = has_spool() && send.outcome->is_spooled;
    return !send.outcome->status.ok() || went_back;
  }
  // On the direct road of a spool nobody is told: it is given up, and goes to the disk.
  if (has_spool()) return send.inside == 0;
  return send.is_final || scheduler_.Now() - send.time >= producing_.delivery_timeout;
}

// -- What the fakes hold --

bool ProducingInvariants::IsOfStore(const SequenceStamp& stamp) const {
  return has_spool() && stamp.by.producer == store_->options().id;
}

void ProducingInvariants::OnMisuse(const Process& process, std::string_view what) {
  checker_.OnMisuse(process, what);
}

void ProducingInvariants::OnApplied(const StoreChange& change, const StoreState& state) {
  for (const StoreChange::Range& range : change.dropped) {
    for (auto row = rows_.lower_bound(range.first);
         row != rows_.end() && row->first <= range.last;) {
      Send& send = sends_[row->second];
      if (!send.is_stored) {
        Fail(Check::kPublished, absl::StrCat(Show(row->second), " (row ", row->first,
                                             ") is forgotten before the topic has it"));
      }
      send.is_in_store = false;
      row = rows_.erase(row);
    }
  }
  if (!change.sent.empty()) LearnRows(state);
  if (!change.facts.empty()) LearnOwed(state);
}

void ProducingInvariants::LearnRows(const StoreState& state) {
  for (const auto& [row_number, row] : state.outgoing.rows) {
    const std::optional<std::size_t> number = NumberInHeader(row.message, kSendHeader);
    if (!number || *number >= sends_.size()) {
      return Fail(Check::kMisuse, "the disk holds a message that nobody has sent");
    }
    if (!rows_.emplace(row_number, *number).second) continue;
    Send& send = sends_[*number];
    Record("disk", *number, absl::StrCat("is row ", row_number));
    if (send.outcome.has_value() && !send.outcome->status.ok() &&
        !IsDoubtful(send.outcome->status)) {
      Fail(Check::kTold,
           absl::StrCat(Show(*number), " comes to the disk, and its sender was told: ",
                        send.outcome->status.ToString()));
    }
    CheckTurn(*number, "is spooled",
              [](const Send& before) { return before.is_in_store || before.outcome.has_value(); });
    send.is_in_store = true;
  }
}

void ProducingInvariants::LearnOwed(const StoreState& state) {
  const absl::StatusOr<stores::OutgoingState> log = LoadOutgoing(state);
  if (!log.ok()) return Fail(Check::kMisuse, log.status().ToString());
  for (const OwedVoid& owed : log->ListOwed()) {
    ledger_.Owe({StreamName(owed.topic, owed.partition,
                            {.producer = store_->options().id, .epoch = owed.epoch}),
                 owed.sequence},
                owed.partition);
  }
}

void ProducingInvariants::OnLost(const StoreState& /*before*/, const StoreState& state) {
  for (auto row = rows_.begin(); row != rows_.end();) {
    if (state.outgoing.rows.contains(row->first)) {
      ++row;
      continue;
    }
    Send& send = sends_[row->second];
    send.is_in_store = false;
    const bool was_promised = send.outcome.has_value() && send.outcome->is_spooled;
    if (was_promised && !send.is_stored) {
      Fail(Check::kTold, Show(row->second) + " was told to be spooled, and is lost");
    }
    row = rows_.erase(row);
  }
}

void ProducingInvariants::OnPublish(const Process& /*process*/, const OutgoingMessage& message) {
  if (message.topic == topic_) return OnRecord(message);
  if (message.topic == MarksTopic(topic_)) return ledger_.OnMark(message);
  Fail(Check::kPublished, "something is published to " + message.topic);
}

void ProducingInvariants::OnRecord(const OutgoingMessage& message) {
  const std::optional<std::size_t> number = NumberInHeader(message, kSendHeader);
  const std::string text = HeaderText(message.headers, kSequenceHeader);
  const std::optional<SequenceStamp> stamp = DecodeStamp(text, topic_, *message.partition);
  if (!number || *number >= sends_.size() || !stamp) {
    return Fail(Check::kNumbers, "a record has no stamp, or nobody has sent it");
  }
  Send& send = sends_[*number];
  const std::int64_t offset = topics_->offsets().back();
  Record("broker", *number,
         absl::StrCat("is stored as number ", stamp->sequence, " of ", ToAbsl(stamp->stream),
                      " at offset ", offset));
  look_();
  if (send.outcome.has_value() && !send.outcome->status.ok() && !IsDoubtful(send.outcome->status)) {
    Fail(Check::kTold, absl::StrCat(Show(*number), " is stored, and its sender was told: ",
                                    send.outcome->status.ToString()));
  }
  CheckContent(send, message);
  const StreamLedger::Number place(stamp->stream, stamp->sequence);
  if (IsOfStore(*stamp)) {
    if (!send.is_in_store && !send.is_stored) {
      Fail(Check::kPublished, Show(*number) + " is published without its commit");
    }
    // A copy of what is stored already may land at any time, also when its row is gone.
    for (const auto& [row, before] : rows_) {
      if (send.is_stored || before == *number) break;
      if (sends_[before].is_stored || sends_[before].message.key != send.message.key) continue;
      Fail(Check::kOrder, absl::StrCat(Show(*number), " is published before ", Show(before),
                                       " of its key, which came to the disk before it"));
    }
  } else {
    const auto taken = taken_.find(place);
    if (taken == taken_.end() || taken->second != *number) {
      Fail(Check::kNumbers, Show(*number) + " is stored under a number that it was not given");
    }
  }
  ledger_.Name(place, *message.partition, *number);
  send.is_stored = true;
  copies_.push_back({.send = *number,
                     .partition = *message.partition,
                     .offset = offset,
                     .sequence = stamp->sequence});
  ledger_.AddCopy(place, offset, on_stored_(message, send.post));
}

// The record is what was sent, with a stamp; all of a key lies in one partition.
void ProducingInvariants::CheckContent(const Send& send, const OutgoingMessage& stored) {
  std::vector<OwnedHeader> headers = stored.headers;
  std::erase_if(headers, [](const OwnedHeader& header) { return header.name == kSequenceHeader; });
  const auto number = static_cast<std::size_t>(&send - sends_.data());
  if (stored.key != send.message.key || stored.value != send.message.value ||
      headers != send.message.headers) {
    Fail(Check::kPublished, Show(number) + " is stored with another content");
  }
  const auto [place, is_first] = places_.try_emplace(*send.message.key, *stored.partition);
  if (place->second == *stored.partition) return;
  Fail(Check::kPublished, absl::StrCat("key ", *send.message.key, " is stored in partition ",
                                       *stored.partition, " after partition ", place->second));
}

void ProducingInvariants::CheckEnd() {
  look_();
  const std::map<std::int64_t, bool> stuck = FindStuck(store_->state(), too_large_);
  for (std::size_t number = 0; number < sends_.size(); ++number) {
    const Send& send = sends_[number];
    const bool is_promised = send.outcome.has_value() && send.outcome->status.ok();
    if (!is_promised || send.is_stored) continue;
    const bool waits = std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) {
      return row.second == number && stuck.contains(row.first);
    });
    if (!waits) return Fail(Check::kPublished, Show(number) + " is promised, and nowhere");
  }
  // A producer that nothing has gone wrong for says at its end how far it has come; a relay says
  // so whatever has.
  const bool is_undisturbed =
      scheduler_.oracle().faults_used() == 0 && producing_.outage <= absl::ZeroDuration();
  const std::string store = absl::StrCat("/", store_->options().id);
  ledger_.CheckEnd([&](const std::string& stream) {
    const bool is_of_store = has_spool() && stream.ends_with(store);
    return is_undisturbed || is_of_store;
  });
}

}  // namespace once::testing
