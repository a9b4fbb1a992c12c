// Message, OwnedMessage and Batch: views that know null from empty, copies that own everything.
#include "once/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "once/batch.h"

namespace once {
namespace {

using ::testing::ElementsAre;

static_assert(!std::is_copy_constructible_v<Message> && !std::is_copy_assignable_v<Message>);
static_assert(std::is_nothrow_move_constructible_v<Message>);
static_assert(!std::is_copy_constructible_v<OwnedMessage>);
static_assert(!std::is_copy_constructible_v<Batch> && std::is_move_constructible_v<Batch>);

const std::vector<OwnedHeader>& SomeHeaders() {
  static const std::vector<OwnedHeader> kHeaders = {
      {"trace", "1"}, {"id", "a"}, {"trace", "2"}, {"empty", ""}, {"null", std::nullopt}};
  return kHeaders;
}

MessageFields SomeFields() {
  return {.topic = "orders",
          .partition = 3,
          .offset = 42,
          .timestamp_ms = 1'500,
          .assignment = 7,
          .key = "k",
          .value = "v",
          .header_reader = OwnedHeaderReader(),
          .headers_object = &SomeHeaders()};
}

TEST(Message, ShowsWhatTheSourceSaid) {
  const Message message(SomeFields());
  EXPECT_EQ(message.topic(), "orders");
  EXPECT_EQ(message.partition(), 3);
  EXPECT_EQ(message.offset(), 42);
  EXPECT_EQ(message.assignment(), 7U);
  EXPECT_EQ(message.key(), "k");
  EXPECT_EQ(message.value(), "v");
  EXPECT_EQ(message.timestamp(), absl::FromUnixMillis(1'500));
}

TEST(Message, HasNoTimeWhenTheSourceKnowsNone) {
  EXPECT_EQ(Message({.topic = "orders"}).timestamp(), absl::InfinitePast());
}

TEST(Message, TheEpochIsATime) {
  EXPECT_EQ(Message({.topic = "orders", .timestamp_ms = 0}).timestamp(), absl::UnixEpoch());
}

TEST(Message, TellsANullKeyAndValueFromEmptyOnes) {
  const Message null({.topic = "orders"});
  EXPECT_FALSE(null.key().has_value());
  EXPECT_FALSE(null.value().has_value());
  const Message empty({.topic = "orders", .key = "", .value = ""});
  EXPECT_EQ(empty.key(), "");
  EXPECT_EQ(empty.value(), "");
}

TEST(Message, WithoutAReaderThereAreNoHeaders) {
  const Message message({.topic = "orders"});
  EXPECT_EQ(message.header_count(), 0U);
  EXPECT_FALSE(message.FindHeader("id").has_value());
}

TEST(Message, TheLastOfARepeatedHeaderWins) {
  const Message message(SomeFields());
  EXPECT_EQ(message.header_count(), 5U);
  EXPECT_EQ(message.FindHeader("trace")->value, "2");
  EXPECT_EQ(message.header(0).value, "1");
}

TEST(Message, HeaderNamesAreCaseSensitive) {
  EXPECT_FALSE(Message(SomeFields()).FindHeader("Trace").has_value());
}

TEST(Message, TellsANullHeaderFromAnEmptyAndAMissingOne) {
  const Message message(SomeFields());
  ASSERT_TRUE(message.FindHeader("null").has_value());
  EXPECT_FALSE(message.FindHeader("null")->value.has_value());
  EXPECT_EQ(message.FindHeader("empty")->value, "");
  EXPECT_FALSE(message.FindHeader("missing").has_value());
}

TEST(Message, OutsideAHandlerItHasNoIdAndIsAtItsFirstAttempt) {
  Message message(SomeFields());
  EXPECT_EQ(message.id(), "");
  EXPECT_EQ(message.scope(), "");
  EXPECT_EQ(message.attempt(), 1);
  message.SetContext({.id = "a", .scope = "s", .attempt = 3});
  EXPECT_EQ(message.id(), "a");
  EXPECT_EQ(message.scope(), "s");
  EXPECT_EQ(message.attempt(), 3);
  message.SetContext({});
  EXPECT_EQ(message.id(), "");
}

TEST(OwnedMessage, OutlivesTheBuffersItWasCopiedFrom) {
  std::unique_ptr<OwnedMessage> owned;
  {
    // Longer than any small-string buffer, so that a view left behind would dangle.
    const std::string topic(100, 't');
    const std::string key(100, 'k');
    const std::string value(100, 'v');
    const std::vector<OwnedHeader> headers = {{std::string(100, 'n'), std::string(100, 'h')}};
    owned = std::make_unique<OwnedMessage>(Message({.topic = topic,
                                                    .partition = 1,
                                                    .offset = 2,
                                                    .timestamp_ms = 3,
                                                    .assignment = 4,
                                                    .key = key,
                                                    .value = value,
                                                    .header_reader = OwnedHeaderReader(),
                                                    .headers_object = &headers}));
  }
  const Message& message = owned->message();
  EXPECT_EQ(message.topic(), std::string(100, 't'));
  EXPECT_EQ(message.key(), std::string(100, 'k'));
  EXPECT_EQ(message.value(), std::string(100, 'v'));
  EXPECT_EQ(message.FindHeader(std::string(100, 'n'))->value, std::string(100, 'h'));
  EXPECT_EQ(message.partition(), 1);
  EXPECT_EQ(message.offset(), 2);
  EXPECT_EQ(message.timestamp_ms(), 3);
  EXPECT_EQ(message.assignment(), 4U);
}

TEST(OwnedMessage, KeepsNullAndEmptyApart) {
  const OwnedMessage owned(Message({.topic = "orders", .value = ""}));
  EXPECT_FALSE(owned.message().key().has_value());
  EXPECT_EQ(owned.message().value(), "");
}

TEST(OwnedMessage, KeepsEveryHeaderInOrder) {
  const OwnedMessage owned{Message(SomeFields())};
  EXPECT_EQ(CopyHeaders(owned.message()), SomeHeaders());
}

TEST(OwnedMessage, CountsTheBytesItHolds) {
  EXPECT_EQ(OwnedMessage(Message({.topic = "orders"})).size_bytes(), 0U);
  // key 1, value 1; names 5+2+5+5+4, values 1+1+1+0+0
  EXPECT_EQ(OwnedMessage(Message(SomeFields())).size_bytes(), 2U + 21U + 3U);
}

TEST(Batch, IsEmptyByDefault) {
  const Batch batch;
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(batch.size(), 0U);
}

TEST(Batch, KeepsItsBuffersAsLongAsItLives) {
  auto buffers = std::make_shared<std::string>("the broker's bytes");
  const std::weak_ptr<std::string> watched = buffers;
  std::vector<Message> messages;
  messages.emplace_back(MessageFields{.topic = *buffers});
  Batch batch(std::move(messages), std::move(buffers));
  const Batch moved = std::move(batch);
  EXPECT_EQ(moved.messages()[0].topic(), "the broker's bytes");
  EXPECT_FALSE(watched.expired());
  { const Batch gone = Batch(); }
  EXPECT_FALSE(watched.expired());
}

TEST(Batch, GivesItsBuffersBackWhenItGoes) {
  auto buffers = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = buffers;
  { const Batch batch({}, std::move(buffers)); }
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace once
