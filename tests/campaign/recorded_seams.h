// Seams that write down every call and its end in a History, and pass it on.
#pragma once

#include <memory>
#include <string>

#include "once/dedup_store.h"
#include "once/publisher.h"
#include "once/source.h"
#include "tests/campaign/history.h"

namespace once::campaign {

// Who records: a member of a group in this process. The history must outlive what is recorded.
struct Recorder {
  History& history;
  int member = 0;
};

std::shared_ptr<DedupStore> Record(Recorder recorder, std::shared_ptr<DedupStore> store);
std::unique_ptr<LogSource> Record(Recorder recorder, std::unique_ptr<LogSource> source);
std::shared_ptr<Publisher> Record(Recorder recorder, std::shared_ptr<Publisher> publisher);

// Around one invocation of a handler.
class RecordedInvocation {
 public:
  RecordedInvocation(Recorder recorder, const Message& message);
  // What the handler said.
  void End(const absl::Status& status);

 private:
  Recorder recorder_;
  std::int64_t invoke_ = 0;
};

}  // namespace once::campaign
