// Outbox rows as bytes. That every message comes back as it was is a test of the conformance suite.
#include "src/stores/outbox_codec.h"

#include <cstdint>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace once::stores {
namespace {

OutgoingMessage Sample() {
  return {.topic = "orders.dlq",
          .partition = 3,
          .key = "key",
          .value = std::nullopt,
          .headers = {{"name", "value"}, {"null", std::nullopt}}};
}

TEST(OutboxCodec, MessagesThatOnlyConcatenateAlikeDiffer) {
  const OutgoingMessage messages[] = {
      {.topic = "ab"},
      {.topic = "a", .key = "b"},
      {.topic = "a", .value = "b"},
      {.topic = "a", .headers = {{"b", std::nullopt}}},
      {.topic = "a", .headers = {{"", "b"}}},
      {.topic = "a", .headers = {{"b", ""}}},
      {.topic = "a", .headers = {{"b", std::nullopt}, {"", std::nullopt}}},
      {.topic = "a"},
      {.topic = "a", .partition = 0},
      {.topic = "a", .key = ""},
  };
  std::set<std::string> encoded;
  for (const OutgoingMessage& message : messages) encoded.insert(EncodeMessage(message));
  EXPECT_EQ(encoded.size(), std::size(messages));
}

TEST(OutboxCodec, EveryTruncationIsRefused) {
  const std::string whole = EncodeMessage(Sample());
  ASSERT_TRUE(DecodeMessage(whole).ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeMessage(whole.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeMessage(whole + '\0').status()));
}

TEST(OutboxCodec, FlippedBytesNeverDoMoreHarmThanADifferentMessage) {
  const std::string whole = EncodeMessage(Sample());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto decoded = DecodeMessage(damaged);
      if (decoded.ok()) {
        EXPECT_FALSE(*decoded == Sample()) << "byte " << at << " is not looked at";
      }
    }
  }
}

TEST(OutboxCodec, AnOriginIsWrittenInOneWayOnly) {
  const OutboxOrigin origin{.key = {.cluster = "c", .group = "g", .partition = {"orders", 1}}};
  std::string bytes = EncodeOrigin(origin);
  ASSERT_TRUE(DecodeOrigin(bytes).ok());
  // An empty scope is left out, never written as one of no length.
  bytes.insert(bytes.size() - sizeof(origin.ordinal), sizeof(std::uint64_t), '\0');
  EXPECT_TRUE(absl::IsDataLoss(DecodeOrigin(bytes).status()));
}

}  // namespace
}  // namespace once::stores
