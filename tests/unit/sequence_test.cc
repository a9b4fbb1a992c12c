// Stamps, marks and voids: one spelling each, and nothing else is read.
#include "once/sequence.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace once {
namespace {

constexpr ProducerEpoch kShop = {.producer = "shop-1", .epoch = 0x18c5f0a2b3d4e5f6};

TEST(SequenceStamp, ComesBackAsItWasWritten) {
  for (const std::uint64_t sequence :
       {std::uint64_t{1}, std::uint64_t{42}, std::numeric_limits<std::uint64_t>::max()}) {
    const std::string stream = StreamName("orders", 3, kShop);
    const std::string value = EncodeStamp(stream, sequence, sequence == 42);
    const auto stamp = DecodeStamp(value, "orders", 3);
    ASSERT_TRUE(stamp.has_value()) << value;
    EXPECT_EQ(stamp->sequence, sequence);
    EXPECT_EQ(stamp->by, kShop);
    EXPECT_EQ(stamp->stream, stream);
    EXPECT_EQ(stamp->is_from_outbox, sequence == 42);
  }
}

TEST(SequenceStamp, IsWrittenAsDocumented) {
  // The hash of "orders" was computed with another implementation of FNV-1a.
  EXPECT_EQ(EncodeStamp(StreamName("orders", 3, kShop), 42, false),
            "d/42/3/325e96ec/18c5f0a2b3d4e5f6/shop-1");
}

TEST(SequenceStamp, OfTheLongestNamesFits) {
  const std::string producer(kProducerIdBytesMax, 'p');
  const auto stream = StreamName("orders", std::numeric_limits<std::int32_t>::max(),
                                 {.producer = producer, .epoch = ~std::uint64_t{0}});
  const auto value = EncodeStamp(stream, std::numeric_limits<std::uint64_t>::max(), true);
  EXPECT_EQ(value.size(), kStampBytesMax);
  EXPECT_TRUE(DecodeStamp(value, "orders", std::numeric_limits<std::int32_t>::max()));
}

TEST(SequenceStamp, OfAnotherTopicOrPartitionIsNone) {
  const auto value = EncodeStamp(StreamName("orders", 3, kShop), 42, false);
  EXPECT_FALSE(DecodeStamp(value, "orders.billing.dlq", 3));
  EXPECT_FALSE(DecodeStamp(value, "orders", 4));
}

TEST(SequenceStamp, InAnotherSpellingIsNone) {
  const std::string good = EncodeStamp(StreamName("orders", 3, kShop), 42, false);
  ASSERT_TRUE(DecodeStamp(good, "orders", 3));
  for (std::size_t cut = 0; cut < good.size() - 5; ++cut) {
    EXPECT_FALSE(DecodeStamp(good.substr(0, cut), "orders", 3)) << cut;
  }
  const std::string tail = "3/325e96ec/18c5f0a2b3d4e5f6/shop-1";
  for (const std::string& bad : std::vector<std::string>{
           "d/0/" + tail, "d/042/" + tail, "d/+42/" + tail, "d/-1/" + tail, "D/42/" + tail,
           "dd/42/" + tail, "d//" + tail, "d/18446744073709551616/" + tail,
           "d/42/03/325e96ec/18c5f0a2b3d4e5f6/shop-1", "d/42/3/325E96EC/18c5f0a2b3d4e5f6/shop-1",
           "d/42/3/325e96ec/8c5f0a2b3d4e5f6/shop-1", "d/42/3/325e96ec/18c5f0a2b3d4e5f6/",
           "d/42/3/325e96ec/18c5f0a2b3d4e5f6/shop 1", "d/42/3/325e96ec/18c5f0a2b3d4e5f6/a/b",
           good + std::string(kProducerIdBytesMax, 'p')}) {
    EXPECT_FALSE(DecodeStamp(bad, "orders", 3)) << bad;
  }
}

TEST(StreamMark, ComesBackAsItWasWritten) {
  const std::string stream = StreamName("orders", 3, kShop);
  const StreamMark mark = {.last = 42, .last_offset = 1'000, .first_offset = 7};
  const MarkRecord record = EncodeMark(stream, mark);
  const auto decoded = DecodeMark(record.key, record.value, "orders");
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->mark, mark);
  EXPECT_FALSE(decoded->gone);
  EXPECT_EQ(decoded->stream, stream);
  EXPECT_EQ(decoded->partition, 3);
  EXPECT_EQ(decoded->by, kShop);
}

TEST(StreamMark, OfVoidNumbersComesBackUnderAKeyOfItsOwn) {
  const std::string stream = StreamName("orders", 3, kShop);
  const StreamVoid gone = {.first = 5, .last = 9};
  const MarkRecord record = EncodeVoid(stream, gone);
  EXPECT_EQ(record.key, stream + "/5");
  const auto decoded = DecodeMark(record.key, record.value, "orders");
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->gone, gone);
  EXPECT_FALSE(decoded->mark);
  EXPECT_EQ(decoded->stream, stream);
}

TEST(StreamMark, ThatSaysNonsenseIsNone) {
  const std::string stream = StreamName("orders", 3, kShop);
  for (const std::string& value : std::vector<std::string>{
           "", "mark", "mark/1", "mark/1/2", "mark/0/2/1", "mark/1/1/2", "mark/1/-2/-3",
           "mark/1/2/1/", "Mark/1/2/1", "void/1/2", "mark/9223372036854775808/1"}) {
    EXPECT_FALSE(DecodeMark(stream, value, "orders")) << value;
  }
  for (const std::string& value :
       std::vector<std::string>{"void/5/4", "void/0/4", "void/6/9", "void/5", "mark/5/9/1"}) {
    EXPECT_FALSE(DecodeMark(stream + "/5", value, "orders")) << value;
  }
  EXPECT_FALSE(DecodeMark(stream, "mark/1/2/1", "payments"));
}

TEST(MarksTopic, NamesTheTopicThatItMarks) {
  EXPECT_EQ(MarksTopic("orders"), "orders.once-marks");
  EXPECT_EQ(MarkedTopic("orders.once-marks"), "orders");
  EXPECT_FALSE(MarkedTopic("orders"));
  EXPECT_FALSE(MarkedTopic(".once-marks"));
}

TEST(ProducerId, IsOfLettersDigitsAndFewSigns) {
  EXPECT_TRUE(ValidateProducerId("shop-1.eu_west:9").ok());
  EXPECT_FALSE(ValidateProducerId("").ok());
  EXPECT_FALSE(ValidateProducerId("a/b").ok());
  EXPECT_FALSE(ValidateProducerId("caf\xc3\xa9").ok());
  EXPECT_FALSE(ValidateProducerId(std::string(kProducerIdBytesMax + 1, 'a')).ok());
}

}  // namespace
}  // namespace once
