// Everything of the core in one include. Adapters have headers of their own (once/sqlite/store.h,
// once/kafka/source.h).
#pragma once

#include "once/batch.h"           // IWYU pragma: export
#include "once/claims.h"          // IWYU pragma: export
#include "once/consumer.h"        // IWYU pragma: export
#include "once/dead_letter.h"     // IWYU pragma: export
#include "once/dedup_store.h"     // IWYU pragma: export
#include "once/executor.h"        // IWYU pragma: export
#include "once/guarantee.h"       // IWYU pragma: export
#include "once/half_message.h"    // IWYU pragma: export
#include "once/handler.h"         // IWYU pragma: export
#include "once/id_extractor.h"    // IWYU pragma: export
#include "once/log.h"             // IWYU pragma: export
#include "once/loss.h"            // IWYU pragma: export
#include "once/mark_source.h"     // IWYU pragma: export
#include "once/memory/store.h"    // IWYU pragma: export
#include "once/message.h"         // IWYU pragma: export
#include "once/message_id.h"      // IWYU pragma: export
#include "once/metrics.h"         // IWYU pragma: export
#include "once/offset_tracker.h"  // IWYU pragma: export
#include "once/outbox.h"          // IWYU pragma: export
#include "once/outbox_relay.h"    // IWYU pragma: export
#include "once/outcome.h"         // IWYU pragma: export
#include "once/outgoing_log.h"    // IWYU pragma: export
#include "once/position.h"        // IWYU pragma: export
#include "once/presets.h"         // IWYU pragma: export
#include "once/producer.h"        // IWYU pragma: export
#include "once/publisher.h"       // IWYU pragma: export
#include "once/record_client.h"   // IWYU pragma: export
#include "once/retry.h"           // IWYU pragma: export
#include "once/send_id.h"         // IWYU pragma: export
#include "once/sequence.h"        // IWYU pragma: export
#include "once/source.h"          // IWYU pragma: export
#include "once/spool.h"           // IWYU pragma: export
#include "once/transact.h"        // IWYU pragma: export
#include "once/transaction.h"     // IWYU pragma: export
#include "once/wrap.h"            // IWYU pragma: export
