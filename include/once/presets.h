// Presets are options for three kinds of work, to begin with: every field that a preset decides
// about may be changed afterwards, and everything that belongs to your program is still to be set.
//
//   once::Preset preset = once::presets::Financial();
//   preset.consumer.source = *std::move(source);
//   preset.consumer.store = *store;
//   preset.consumer.dead_letters = *dead_letters;
//   auto consumer = once::Consumer::Create(std::move(preset.consumer), Charge);
//
// A preset promises nothing by its name: what holds is computed from the options as they are in the
// end, the store and the source (Consumer::guarantee()). What a preset wants of the store is a
// floor (ConsumerOptions::store_floor): one below it is refused when the consumer is created.
//
// docs/presets.md says what each decides, and why.
// Pure functions, safe for concurrent use.
#pragma once

#include <string_view>

#include "once/consumer.h"
#include "once/producer.h"

namespace once {

struct Preset {
  std::string_view name;     // "financial"
  ConsumerOptions consumer;  // to be set: source, store, dead_letters
  ProducerOptions producer;  // to be set: clients; stamps.producer should be
};

namespace presets {

// Payments, bookings: nothing may be lost, nothing may happen twice, and where nobody can know, a
// person decides. Every batch is synced before the next one begins; a message without an id is a
// dead letter; what may have run is parked. Produce through an outbox (docs/producing.md).
Preset Financial();

// Orders, mails, webhooks: nothing may be lost, and a repetition costs an apology. Batches are
// synced beside the next one; a message without an id has that of its content.
Preset OrderNotification();

// Clicks, logs, metrics: much of it, and a message that fails for good is counted and dropped. A
// message without an id is known by its position, so that only redelivery is noticed, not what a
// producer sends again. No sync is waited for.
Preset LogCollection();

}  // namespace presets
}  // namespace once
