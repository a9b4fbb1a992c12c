// A MessageOrigin is the part of an execution from which its consumers' messages come where they do
// not simply lie in the log: a program in processes of its own, the topic that it sends to, and the
// side topic. Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "once/mark_source.h"
#include "once/testing/simulation.h"
#include "src/testing/stream_ledger.h"

namespace once::testing {

// The longest dead letter that the broker takes.
inline constexpr std::size_t kLetterBytesMax = 8 * 1024;

class MessageOrigin {
 public:
  // A record of the topic is stored; it may have vanished again at once.
  using Deliver = std::function<void(int partition, const ScenarioMessage& message,
                                     const OutgoingMessage& stored, bool has_vanished)>;
  // How long a number may be missing; longer than a void needs without trouble.
  static constexpr absl::Duration kGapGrace = absl::Seconds(5);

  MessageOrigin() = default;
  MessageOrigin(const MessageOrigin&) = delete;
  MessageOrigin& operator=(const MessageOrigin&) = delete;
  virtual ~MessageOrigin() = default;

  // The program, until all is sent or Stop(): the body of a fibre of the harness.
  virtual void Drive() = 0;
  // The world is over: the program is killed.
  virtual void Stop() = 0;
  // All is sent that shall be, or can be sent no more, and the side topic says so.
  virtual bool is_done() const = 0;
  // Why it is not done.
  virtual std::string Complaint() const = 0;
  // What must be when all is sent.
  virtual void CheckEnd() = 0;

  // The side topic, as a consumer in `process` reads it.
  virtual std::shared_ptr<MarkSource> ConnectMarks(std::shared_ptr<Process> process) = 0;
  virtual StreamLedger& ledger() = 0;
};

}  // namespace once::testing
