// What each preset decides.
#include "once/presets.h"

namespace once::presets {
namespace {

constexpr absl::Duration Days(int days) { return absl::Hours(24 * days); }

// Waits of 30 s, 2 min, 8 min and so on, up to `max`: long enough for somebody to mend what is
// down.
RetryPolicy Patiently(int attempts, absl::Duration max) {
  return {.max_attempts = attempts,
          .backoff = {.initial = absl::Seconds(30), .multiplier = 4, .max = max}};
}

}  // namespace

Preset Financial() {
  Preset preset{.name = "financial"};
  ConsumerOptions& consumer = preset.consumer;
  consumer.store_floor = {.durability = Durability::kMachine, .retention = Days(30)};
  consumer.retry = Patiently(5, absl::Minutes(30));
  consumer.redelivery_horizon = Days(7);
  consumer.short_retention = ShortRetention::kStop;
  consumer.claims.on_lost = LostClaim::kPark;
  consumer.overlaps_syncs = false;
  // Whoever asks for the money knows which payment it is; a drawn id would make two of a resend.
  preset.producer.ids.is_drawn = false;
  return preset;
}

Preset OrderNotification() {
  Preset preset{.name = "order-notification"};
  ConsumerOptions& consumer = preset.consumer;
  consumer.store_floor = {.durability = Durability::kMachine, .retention = Days(7)};
  consumer.id = FirstOf({StandardIdHeaders(), ContentSha256Id()});
  consumer.retry = Patiently(6, absl::Hours(1));
  consumer.redelivery_horizon = Days(1);
  consumer.short_retention = ShortRetention::kWarn;
  return preset;
}

Preset LogCollection() {
  Preset preset{.name = "log-collection"};
  ConsumerOptions& consumer = preset.consumer;
  consumer.store_floor = {.retention = Days(1)};
  consumer.id = FirstOf({StandardIdHeaders(), PositionId()});
  consumer.retry = {.max_attempts = 3, .give_up = GiveUp::kDiscard};
  consumer.redelivery_horizon = absl::Hours(1);
  consumer.short_retention = ShortRetention::kWarn;
  preset.producer.stamps.mode = Stamping::kObserve;
  return preset;
}

}  // namespace once::presets
