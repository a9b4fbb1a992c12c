// Presets: what each decides is what its documentation says, and none hides what is not guaranteed.
#include "once/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "once/memory/store.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/scripted_source.h"

namespace once {
namespace {

using ::testing::HasSubstr;

// Says of itself whatever a test wants.
class StoreOf : public testing::ForwardingStore {
 public:
  explicit StoreOf(Durability durability, absl::Duration retention = absl::InfiniteDuration())
      : ForwardingStore(memory::OpenStore()), durability_(durability), retention_(retention) {}
  StoreTraits traits() const override {
    return {.name = "disk", .durability = durability_, .id = "d1", .retention = retention_};
  }

 private:
  const Durability durability_;
  const absl::Duration retention_;
};

absl::Status Handle(const Message&, Transaction&) { return absl::OkStatus(); }

absl::StatusOr<std::unique_ptr<Consumer>> CreateWith(Preset preset,
                                                     std::shared_ptr<DedupStore> store) {
  preset.consumer.source = std::make_unique<ScriptedSource>(std::make_shared<ScriptedLog>());
  preset.consumer.store = std::move(store);
  preset.consumer.log = NoLog();
  return Consumer::Create(std::move(preset.consumer), Handle);
}

std::string RefusalOf(Preset preset, std::shared_ptr<DedupStore> store) {
  const auto consumer = CreateWith(std::move(preset), std::move(store));
  EXPECT_EQ(consumer.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(consumer.status().message());
}

TEST(Presets, AreTakenAsTheyAreByAStoreThatIsGoodEnough) {
  for (auto* make : {presets::Financial, presets::OrderNotification, presets::LogCollection}) {
    const auto consumer = CreateWith(make(), std::make_shared<StoreOf>(Durability::kMachine));
    EXPECT_TRUE(consumer.ok()) << make().name << ": " << consumer.status();
  }
}

TEST(Presets, FinancialRefusesAStoreThatForgets) {
  EXPECT_THAT(RefusalOf(presets::Financial(), memory::OpenStore()), HasSubstr("store memory"));
  EXPECT_THAT(RefusalOf(presets::Financial(), std::make_shared<StoreOf>(Durability::kProcess)),
              HasSubstr("the process, not the machine"));
  EXPECT_THAT(RefusalOf(presets::Financial(),
                        std::make_shared<StoreOf>(Durability::kMachine, absl::Hours(24 * 29))),
              HasSubstr("forgets ids"));
}

TEST(Presets, OrderNotificationWantsAWeekOnDisk) {
  EXPECT_THAT(RefusalOf(presets::OrderNotification(), memory::OpenStore()),
              HasSubstr("store memory"));
  EXPECT_TRUE(CreateWith(presets::OrderNotification(),
                         std::make_shared<StoreOf>(Durability::kMachine, absl::Hours(24 * 7)))
                  .ok());
}

TEST(Presets, LogCollectionTakesAnyStoreThatRemembersADayAndSaysWhatThatIsWorth) {
  const auto consumer = CreateWith(presets::LogCollection(), memory::OpenStore());
  ASSERT_TRUE(consumer.ok()) << consumer.status();
  EXPECT_EQ((*consumer)->guarantee().level, GuaranteeLevel::kAtLeastOnce);
  EXPECT_THAT(RefusalOf(presets::LogCollection(),
                        std::make_shared<StoreOf>(Durability::kNothing, absl::Hours(23))),
              HasSubstr("forgets ids"));
}

TEST(Presets, TheNameOfAPresetRaisesNoGuarantee) {
  Preset preset = presets::Financial();
  preset.consumer.store_floor = {};
  const auto consumer = CreateWith(std::move(preset), memory::OpenStore());
  ASSERT_TRUE(consumer.ok()) << consumer.status();
  EXPECT_EQ((*consumer)->guarantee().level, GuaranteeLevel::kAtLeastOnce);
}

TEST(Presets, DecideWhatBecomesOfWhatNobodyCanKnow) {
  EXPECT_EQ(presets::Financial().consumer.claims.on_lost, LostClaim::kPark);
  EXPECT_EQ(presets::OrderNotification().consumer.claims.on_lost, LostClaim::kRerun);
  EXPECT_EQ(presets::LogCollection().consumer.retry.give_up, GiveUp::kDiscard);
  EXPECT_EQ(presets::Financial().consumer.retry.give_up, GiveUp::kDeadLetter);
}

TEST(Presets, OnlyFinancialInsistsOnIdsOfTheProducersOwn) {
  EXPECT_FALSE(presets::Financial().producer.ids.is_drawn);
  EXPECT_TRUE(presets::OrderNotification().producer.ids.is_drawn);
  const Message message({.topic = "orders", .partition = 3, .offset = 9, .value = "10 EUR"});
  std::string scratch;
  EXPECT_FALSE(presets::Financial().consumer.id.Extract(message, scratch));
  EXPECT_TRUE(presets::OrderNotification().consumer.id.Extract(message, scratch));
  EXPECT_TRUE(presets::LogCollection().consumer.id.Extract(message, scratch));
}

}  // namespace
}  // namespace once
