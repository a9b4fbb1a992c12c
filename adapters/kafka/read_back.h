// Reading one record of a transaction back, to learn what became of all of it. Brokers tell nobody
// whether a transaction was committed, but readers see it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "adapters/kafka/transaction_client.h"
#include "once/kafka/properties.h"
#include "once/log.h"

namespace once::kafka {

enum class Visibility : std::uint8_t {
  kVisible,    // committed
  kInvisible,  // aborted: it is there, and read_committed readers have passed it
  kOpen,       // read_committed readers stand before it: its end, or that of another, is not there
  kNotKnown,   // not decided by the deadline, deleted meanwhile, or not to be read by us
};

struct ReadBackRequest {
  const std::string& brokers;
  const Properties& properties;  // of the producer
  std::shared_ptr<LogSink> log;
  const Witness& witness;
  std::string_view id_header;  // that names the witness' id
  // False: kOpen at once where others would wait for the end until the deadline.
  bool awaits_end = true;
};

// Joins no group, needs no right to one, and commits nothing. Why nothing can be known is logged. A
// record that is missing is no evidence of an abort, it may
// have been compacted away or expired: kInvisible needs a reader without isolation that sees it.
Visibility ReadBack(const ReadBackRequest& request, absl::Time deadline);

}  // namespace once::kafka
