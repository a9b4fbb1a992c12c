// A store with one log of outgoing messages, and what a relay does with it, step by step.
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "adapters/postgres/tests/relay_scene.h"
#include "src/stores/lane_sharing.h"

namespace once::postgres {

class OutgoingScene : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }

  static OutgoingLog& LogOf(DedupStore& store) { return *store.transactions()->outgoing(); }
  OutgoingLog& log() { return LogOf(*store_); }
  static stores::LaneSharing& SharingOf(DedupStore& store) {
    return dynamic_cast<stores::LaneSharing&>(LogOf(store));
  }

  void Publish(const std::string& key, const std::string& value) {
    const absl::Status published = Transact(*store_, [&](Transaction& transaction) {
      return transaction.Publish(MessageOf(key, value));
    });
    EXPECT_TRUE(published.ok()) << published;
  }
  void PublishIn(const UsersSession& session, const std::string& key, const std::string& value) {
    const absl::Status published =
        postgres::PublishIn(session.get(), MessageOf(key, value), {.schema = schema().name()});
    EXPECT_TRUE(published.ok()) << published;
  }
  static std::vector<int> Hold(DedupStore& store) {
    const auto lanes = LogOf(store).HoldLanes();
    EXPECT_TRUE(lanes.ok()) << lanes.status();
    return lanes.value_or(std::vector<int>());
  }
  // Until the server has noticed what has changed.
  static std::vector<int> HoldSoon(DedupStore& store, std::size_t count) {
    std::vector<int> lanes;
    for (int i = 0; i < 500 && lanes.size() != count; ++i) {
      if (i > 0) absl::SleepFor(absl::Milliseconds(10));
      lanes = LogOf(store).HoldLanes().value_or(std::vector<int>());
    }
    return lanes;
  }
  std::vector<OutgoingRow> Unplaced(const std::string& key) {
    Hold(*store_);
    return UnplacedOfHeld(key);
  }
  std::vector<OutgoingRow> UnplacedOfHeld(const std::string& key) {
    auto rows = log().FindUnplaced(LaneOfKey(key), {.rows_max = 1000, .bytes_max = 1'000'000});
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.value_or(std::vector<OutgoingRow>());
  }
  static int LaneOfKey(const std::string& key) { return MakeRow(MessageOf(key, ""), 0).lane; }
  static std::vector<std::string> ValuesOf(const std::vector<OutgoingRow>& rows) {
    std::vector<std::string> values;
    for (const OutgoingRow& row : rows) values.push_back(row.message.value.value_or(""));
    return values;
  }
  static OutgoingRound RoundOf(std::span<const OutgoingRow> rows, std::uint64_t epoch = 7) {
    OutgoingRound round{.lane = LaneOf(rows.front().number), .epoch = epoch};
    std::uint64_t sequence = 0;
    for (const OutgoingRow& row : rows) {
      round.placements.push_back({.number = row.number, .partition = 3, .sequence = ++sequence});
    }
    return round;
  }
  absl::Status Place(OutgoingRound& round) { return log().Advance({.placed = {&round, 1}}); }
  absl::Status Finish(const OutgoingRound& round) {
    const OutgoingProgress::Finished finished{.lane = round.lane, .round = round.round};
    return log().Advance({.finished = {&finished, 1}});
  }
  void PlaceAndFinish(std::span<const OutgoingRow> rows) {
    OutgoingRound round = RoundOf(rows);
    const absl::Status placed = Place(round);
    ASSERT_TRUE(placed.ok()) << placed;
    const absl::Status finished = Finish(round);
    ASSERT_TRUE(finished.ok()) << finished;
  }
  std::string Ask(const std::string& sql) {
    return RunSql(connection(), absl::StrReplaceAll(sql, {{"@", schema().name()}})).at(0).at(0);
  }

  const std::vector<std::string> keys_ = KeysOfOneLane(4);
};

}  // namespace once::postgres
