// A SendStream is what a producer sends to one partition: in order, numbered, one sender at a time.
// Thread-safety: none; the queue's lock guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "once/producer.h"
#include "once/sequence.h"
#include "src/partitioner.h"
#include "src/pending_send.h"
#include "src/stream_progress.h"

namespace once {

struct SendStream {
  std::string topic;
  std::int32_t partition = 0;
  std::string name;  // StreamName

  // -- Messages --
  std::uint64_t next_number = 1;
  std::deque<PendingSend*> waiting;  // for the client, in order
  std::size_t inside = 0;            // the client has them …
  bool is_alone_inside = false;      // … and it is one that nothing may join
  std::vector<PendingSend*> failed;  // to be sent again, in front of `waiting`, once none is inside
  bool is_pumping = false;           // somebody hands over what waits …
  PendingSend* handing = nullptr;    // … and is at this one, without the lock
  bool is_listed = false;            // among those that wait for the polling task

  bool can_send() const { return !waiting.empty() && failed.empty(); }

  // -- Marks --
  StreamProgress progress;
  std::vector<StreamVoid> voids;     // not yet declared
  std::optional<StreamMark> marked;  // as it was last written
  std::size_t marks_inside = 0;      // the client has them …
  std::size_t voids_inside = 0;      // … and so many of those are voids
  bool is_markless = false;          // there is no topic for marks
  std::uint64_t last_settled = 0;    // the greatest number that has an outcome
  bool has_news() const {
    return !is_markless && (!voids.empty() || marks_inside > 0 || progress.mark() != marked);
  }
};

// A topic's streams, one by partition, made when they are first needed.
struct SendTopic {
  std::int32_t partitions = 0;  // 0: not known
  StickyPartition sticky;
  std::vector<std::unique_ptr<SendStream>> streams;
};

// A mark or void on its way.
struct MarkSend : RecordCookie {
  SendStream* stream = nullptr;
  std::optional<StreamVoid> gone;  // a void, or …
  StreamMark mark;
  OutgoingMessage message;
};

}  // namespace once
