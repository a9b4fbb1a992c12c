// Records that are stored, vanish, and are delivered.
#include "src/testing/origin_topic.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "once/testing/fake_log.h"
#include "src/testing/fake_marks.h"

namespace once::testing {
namespace {

// What the topic takes, and what is too large for it.
constexpr std::size_t kRecordBytesMax = 32 * 1024;

}  // namespace

OriginTopic::OriginTopic(const Scenario& scenario, Trouble trouble, SeamGate& gate,
                         InvariantChecker& checker, SimulationObserver& observer,
                         MessageOrigin::Deliver deliver)
    : scenario_(scenario),
      trouble_(trouble),
      checker_(checker),
      deliver_(std::move(deliver)),
      topics_(gate, {.default_partitions = 0, .message_bytes_max = kRecordBytesMax}, &observer) {
  topics_.CreateTopic(FakeLogOptions().topic, scenario.partitions);
  topics_.CreateTopic(MarksTopic(FakeLogOptions().topic), 1);
  if (trouble_.outage <= absl::ZeroDuration()) return;
  FiberScheduler& scheduler = gate.scheduler();
  const absl::Time from = scheduler.Now() + trouble_.outage_after;
  scheduler.At(from, [this] { topics_.set_is_reachable(false); });
  scheduler.At(from + trouble_.outage, [this] { topics_.set_is_reachable(true); });
}

std::shared_ptr<MarkSource> OriginTopic::ConnectMarks(std::shared_ptr<Process> process) {
  return std::make_shared<FakeMarks>(topics_, FakeLogOptions().topic, std::move(process));
}

bool OriginTopic::OnStored(const OutgoingMessage& stored, std::size_t post) {
  const bool has_vanished = trouble_.vanished.contains(++stored_);
  if (has_vanished && checker_.is_recording()) {
    checker_.Record("broker", "loses that record", *stored.partition);
  }
  deliver_(*stored.partition, scenario_.messages[post], stored, has_vanished);
  return !has_vanished;
}

OutgoingMessage OriginTopic::MessageOf(std::size_t post, std::size_t keys,
                                       bool is_too_large) const {
  const ScenarioMessage& message = scenario_.messages[post];
  OutgoingMessage sent{
      .topic = FakeLogOptions().topic,
      .key = absl::StrCat("key-", post % keys),
      .value = message.value.empty() ? absl::StrCat("value of ", message.id) : message.value};
  if (message.is_too_large) sent.value->resize(kLetterBytesMax, 'x');
  if (is_too_large) sent.value->resize(2 * kRecordBytesMax, 'x');
  return sent;
}

}  // namespace once::testing
