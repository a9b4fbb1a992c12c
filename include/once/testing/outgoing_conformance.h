// The conformance suite for logs of outgoing messages: what once::OutgoingLog promises and what
// Transaction::Publish() and Transact() promise about it. A store with transactions passes by being
// instantiated beside TransactionalStoreConformance (store_conformance.h):
//
//   INSTANTIATE_TEST_SUITE_P(MyStore, OutgoingLogConformance, ::testing::Values(…),
//                            once::testing::StoreName);
//
// A store without such a log must not be given to it. A log that takes messages by itself
// (spool_log.h) passes too: its fixture says outgoing(), AppendOutgoing() and why_no_transactions.
// Thread-safety: as GoogleTest's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "once/outgoing_log.h"
#include "once/testing/store_fixture.h"

namespace once::testing {

class OutgoingLogConformance : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override;

  StoreFixture& fixture() { return *fixture_; }
  OutgoingLog& log();
  const StoreCapabilities& capabilities() const { return GetParam().capabilities; }

  static OutgoingMessage Message(std::string_view value, std::optional<std::string> key = {});

  // Each of these fails the test when the store says anything but OK.
  // One transaction that publishes them all, or one append.
  void Publish(const std::vector<OutgoingMessage>& messages);
  std::unique_ptr<StoreTransaction> Begin();
  // Of every lane that the log has, in the order in which Publish() was given them, the first so
  // many. REQUIRES: that no two have the same value, where their order matters.
  std::vector<OutgoingRow> Unplaced(std::size_t rows_max = 1000);
  std::vector<std::string> UnplacedValues(std::size_t rows_max = 1000);
  std::vector<UnfinishedRound> Unfinished();
  void Advance(const OutgoingProgress& progress);
  // Places the rows as one round of `epoch`, their sequences ascending from `sequence`.
  // REQUIRES: Unplaced() has told them, and all are of one lane: of one order, or without a key and
  // of one transaction.
  OutgoingRound Place(std::span<const OutgoingRow> rows, std::uint64_t sequence = 1,
                      std::uint64_t epoch = 7);
  void Finish(const OutgoingRound& round);
  void Park(const OutgoingRow& row);
  // Where Unplaced() has found it.
  int LaneOf(const OutgoingRow& row);

 private:
  std::vector<std::string> published_;  // values
  std::map<std::int64_t, int> lanes_;   // by numbers of rows
  std::unique_ptr<StoreFixture> fixture_;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using OutgoingLogConformance = once::testing::OutgoingLogConformance;
