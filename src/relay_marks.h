// RelayMarks publishes marks and voids to the side topics, with its own client: no trouble of
// theirs disturbs what a relay is there for. A side topic that is not there, or is not taken,
// rests: what is to be said in it is kept, up to a bound, and tried again after a while.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/outgoing_log.h"
#include "once/record_client.h"
#include "once/sequence.h"

namespace once {

class RelayMarks {
 public:
  struct Context {
    RecordClientFactory clients;
    Executor& executor;
    LogSink& log;
    std::function<absl::Status(const std::string& topic, absl::Time deadline)> create_topic;
    absl::Duration retry_interval;
  };
  explicit RelayMarks(Context context) : context_(std::move(context)) {}

  // `topic`: the one that is marked. A mark that waits is replaced by a later one of its stream.
  void Mark(const std::string& topic, const std::string& stream, const StreamMark& mark);
  void Void(const OwedVoid& owed, const std::string& stream);

  // Sends what waits and hears reports, without waiting.
  void Step();
  // Neither waits nor is on its way; what rests does not count.
  bool is_empty() const { return waiting_.empty() && inside_.empty(); }
  // Voids that are published, or have been pushed out by too many later ones of a topic that rests.
  std::vector<OwedVoid> TakeDeclared() { return std::exchange(declared_, {}); }
  void Reset();

 private:
  struct Note {
    OutgoingMessage message;     // of the side topic
    std::vector<OwedVoid> owed;  // one, of a void
  };

  // A side topic that was refused.
  struct Rest {
    absl::Time until = absl::InfinitePast();
    absl::Time created_at = absl::InfinitePast();  // by us, or tried
    bool was_created = false;
    std::list<Note> notes;
    std::map<std::string, std::list<Note>::iterator> keys;
    bool was_reported = false;
    bool was_overrun = false;
  };

  void Put(Note note);
  void Send();
  void Report(const RecordReport& report);
  // There is no such topic, or it is not for us: creates it, or lets it rest.
  void Refuse(Note note, const absl::Status& why);
  void StartRest(const std::string& topic, Rest& rest, const absl::Status& why);
  void PutToRest(Rest& rest, Note note);
  void EndRests();
  void Settle(const Note& note);
  void Retry();

  Context context_;
  absl::Time retry_at_ = absl::InfinitePast();
  std::list<Note> waiting_;
  std::map<std::string, std::list<Note>::iterator> waiting_keys_;
  std::list<Note> inside_;             // whose addresses are the cookies
  std::map<std::string, Rest> rests_;  // by side topic
  std::vector<OwedVoid> declared_;
  // Goes first: it may send from where the notes lie.
  std::unique_ptr<RecordClient> client_;
};

}  // namespace once
