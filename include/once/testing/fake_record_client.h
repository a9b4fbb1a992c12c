// FakeRecordClients connect the processes of a simulation to FakeTopics record by record, as a
// broker's client library does: a bounded queue, batches that are in flight, reports that come
// later, and a client that breaks.
//
//   auto open = once::testing::FakeRecordClients(topics, process, {});
//   auto client = open({.has_no_gaps = true});
//
// A record passes the gate (Seam::kPublish) when it arrives at the broker, inside Poll(): it may
// fail, be stored without anybody hearing of it, or meet the death of its process. The oracle also
// decides, as faults, that the queue is full, that the client breaks, and what a purge or a break
// leaves behind. The value's bytes are read when they are stored, from where they lay
// at TrySend(), unless the record is copied.
//
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/time/time.h"
#include "once/record_client.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fiber_executor.h"

namespace once::testing {

struct FakeRecordClientOptions {
  std::size_t records_max = 1000;  // the queue's bound
  // True: the oracle decides how many of the records inside one Poll() brings to the broker.
  bool is_partial = false;
  // More bytes than that in the queue are refused together, as a broker refuses a batch; 0: none.
  std::size_t together_bytes_max = 0;
  // How much later than delivery_timeout a record expires, as those in a request do that a broker
  // does not answer.
  absl::Duration overtime = absl::ZeroDuration();
  // Records that are too large are taken by the client, and refused by the broker.
  bool is_refused_late = false;
  // What a client that breaks, is purged or dies with its process had on its way may arrive a while
  // later, beside what others send meanwhile; of each partition a first part, in its order.
  bool lands_late = false;
};

// Each client it opens belongs to `process` and dies with it. `topics` must outlive them all.
RecordClientFactory FakeRecordClients(FakeTopics& topics, std::shared_ptr<Process> process,
                                      FakeRecordClientOptions options);

}  // namespace once::testing
