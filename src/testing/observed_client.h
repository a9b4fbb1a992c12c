// ObservedClients stand between a product and its simulated record clients, and tell the rules of
// the sending side (producing_invariants.h) what the product hands over and what it hears.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include "once/record_client.h"
#include "src/testing/producing_invariants.h"

namespace once::testing {

// `invariants` must outlive them all; `process` is the one that has them.
RecordClientFactory ObservedClients(RecordClientFactory inner, ProducingInvariants& invariants,
                                    std::shared_ptr<Process> process);

}  // namespace once::testing
