// The conformance tests of record clients.
#include "once/testing/record_client_conformance.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"

namespace once::testing {
namespace {

constexpr std::string_view kStamp = "d/1/0/325e96ec/18c5f0a2b3d4e5f6/conformance";

}  // namespace

std::string RecordClientName(const ::testing::TestParamInfo<RecordClientUnderTest>& info) {
  return info.param.name;
}

absl::Status RecordBook::Send(OutgoingMessage message, std::int32_t partition,
                              std::string_view stamp) {
  Entry& entry = entries_.emplace_back();
  entry.message = std::move(message);
  entry.partition = partition;
  absl::Status sent = client_.TrySend(
      {.message = entry.message, .partition = partition, .stamp = stamp, .cookie = &entry});
  if (!sent.ok()) entries_.pop_back();
  return sent;
}

absl::Status RecordBook::SendCopied(const OutgoingMessage& message, std::int32_t partition,
                                    std::string_view stamp) {
  Entry& entry = entries_.emplace_back();
  entry.message = message;
  entry.partition = partition;
  OutgoingMessage lent = message;
  absl::Status sent = client_.TrySend({.message = lent,
                                       .partition = partition,
                                       .stamp = stamp,
                                       .cookie = &entry,
                                       .is_copied = true});
  if (lent.value) lent.value->assign(lent.value->size(), '!');
  if (!sent.ok()) entries_.pop_back();
  return sent;
}

void RecordBook::Await(absl::Duration wait) {
  const absl::Time deadline = executor_.Now() + wait;
  const auto note = [](std::span<const RecordReport> reports) {
    for (const RecordReport& report : reports) {
      Entry& entry = *static_cast<Entry*>(report.cookie);
      ++entry.reports;
      entry.status = report.status;
      entry.offset = report.offset;
      if (report.returned != nullptr) entry.returned = std::move(*report.returned);
    }
  };
  while (client_.CountInside() > 0 && executor_.Now() < deadline) client_.Poll(deadline, note);
}

void RecordBook::ExpectAllOk() const {
  for (const Entry& entry : entries_) {
    EXPECT_EQ(entry.reports, 1);
    EXPECT_TRUE(entry.status.ok()) << entry.status;
  }
}

RecordClientConformance::RecordClientConformance() : fixture_(GetParam().make()) {}
RecordClientConformance::~RecordClientConformance() = default;

OutgoingMessage RecordClientConformance::MessageTo(const std::string& topic,
                                                   std::optional<std::string> key,
                                                   std::optional<std::string> value) {
  return {.topic = topic,
          .partition = std::nullopt,
          .key = std::move(key),
          .value = std::move(value),
          .headers = {}};
}

TEST_P(RecordClientConformance, EveryRecordIsReportedOnceWithItsOffsetInTheOrderOfItsPartition) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(3);
    const auto client = fixture().Open({});
    RecordBook book(*client, fixture().executor());
    for (int i = 0; i < 600; ++i) {
      ASSERT_TRUE(book.Send(MessageTo(topic, "key", absl::StrCat(i)), i % 3).ok());
    }
    book.Await();
    book.ExpectAllOk();
    for (int i = 0; i < 600; ++i) {
      EXPECT_EQ(book.entries()[static_cast<std::size_t>(i)].offset, i / 3);
    }
    EXPECT_EQ(client->CountInside(), 0U);
    if (!capabilities().why_no_dump.empty()) return;
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), 600U);
    for (const StoredMessage& one : stored) {
      EXPECT_EQ(one.message.value, absl::StrCat(one.offset * 3 + *one.message.partition));
    }
  });
}

TEST_P(RecordClientConformance, BytesHeadersTheirOrderAndTheStampBehindThemAreKept) {
  if (!capabilities().why_no_dump.empty()) GTEST_SKIP() << capabilities().why_no_dump;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const auto client = fixture().Open({});
    RecordBook book(*client, fixture().executor());
    const std::string bytes("\0\x01\xff", 3);
    std::vector<OutgoingMessage> messages = {
        MessageTo(topic, bytes, bytes), MessageTo(topic, std::nullopt, ""),
        MessageTo(topic, "", std::nullopt), MessageTo(topic, "k", std::string(70'000, 'v'))};
    messages[3].headers = {{"b", "1"}, {"a", std::nullopt}, {"b", ""}, {"a", bytes}};
    for (const OutgoingMessage& message : messages) {
      ASSERT_TRUE(book.Send(message, 0, kStamp).ok());
    }
    ASSERT_TRUE(book.Send(messages[3], 0).ok());
    messages.push_back(messages[3]);
    book.Await();
    book.ExpectAllOk();
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), messages.size());
    for (std::size_t i = 0; i < stored.size(); ++i) {
      messages[i].partition = 0;
      if (i < 4) messages[i].headers.push_back({std::string(kSequenceHeader), std::string(kStamp)});
      EXPECT_EQ(stored[i].message, messages[i]) << i;
    }
  });
}

// Messages of every shape, to three partitions in turn.
std::vector<OutgoingMessage> Shapes(const std::string& topic) {
  std::vector<OutgoingMessage> shapes(7, OutgoingMessage{.topic = topic, .value = "v"});
  shapes[0].key = "key";
  shapes[1].headers = {{"a", "1"}, {"null", std::nullopt}, {"empty", ""}, {"a", "2"}};
  shapes[2].value = std::nullopt;
  shapes[3].value = "";
  shapes[4].key = "";
  shapes[5].value = std::string(3000, 'x');
  shapes[6].value = std::string("\0\1", 2);
  return shapes;
}

TEST_P(RecordClientConformance, WhatIsCopiedIsStoredAsItWas) {
  fixture().Run([this] {
    if (!capabilities().why_no_dump.empty()) GTEST_SKIP() << capabilities().why_no_dump;
    const std::string topic = fixture().CreateTopic(1);
    const std::vector<OutgoingMessage> shapes = Shapes(topic);
    const auto client = fixture().Open({});
    RecordBook book(*client, fixture().executor());
    for (const OutgoingMessage& shape : shapes) ASSERT_TRUE(book.SendCopied(shape, 0).ok());
    book.Await();
    book.ExpectAllOk();
    for (const RecordBook::Entry& entry : book.entries()) EXPECT_FALSE(entry.returned.has_value());
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), shapes.size());
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      OutgoingMessage expected = shapes[i];
      expected.partition = 0;
      EXPECT_EQ(stored[i].message, expected) << i;
    }
  });
}

TEST_P(RecordClientConformance, WhatIsCopiedComesBackWhereItIsNotStoredAndNothingElseDoes) {
  fixture().Run([this] {
    const std::vector<OutgoingMessage> shapes = Shapes("t");
    const auto client = fixture().OpenUnreachable({});
    RecordBook book(*client, fixture().executor());
    const std::size_t count = std::min(2 * shapes.size(), fixture().records_max());
    for (std::size_t i = 0; i < count; ++i) {
      const OutgoingMessage& shape = shapes[i % shapes.size()];
      const std::int32_t partition = static_cast<std::int32_t>(i % 3);
      const std::string_view stamp = i % 2 == 0 ? kStamp : std::string_view();
      ASSERT_TRUE((i % 4 == 3 ? book.Send(shape, partition, stamp)
                              : book.SendCopied(shape, partition, stamp))
                      .ok());
    }
    client->Purge();
    book.Await();
    for (std::size_t i = 0; i < count; ++i) {
      const RecordBook::Entry& entry = book.entries()[i];
      EXPECT_EQ(entry.reports, 1) << i;
      EXPECT_FALSE(entry.status.ok()) << i;
      EXPECT_EQ(entry.returned.has_value(), i % 4 != 3) << i;
      if (!entry.returned) continue;
      EXPECT_EQ(*entry.returned, shapes[i % shapes.size()]) << i;
    }
  });
}

TEST_P(RecordClientConformance, AFullQueueSaysSoAndTakesNothing) {
  fixture().Run([this] {
    const auto client = fixture().OpenUnreachable({});
    RecordBook book(*client, fixture().executor());
    absl::Status sent;
    for (std::size_t i = 0; sent.ok() && i <= fixture().records_max(); ++i) {
      sent = book.Send(MessageTo("t", "k", "v"), 0);
    }
    EXPECT_TRUE(absl::IsResourceExhausted(sent)) << sent;
    EXPECT_EQ(book.entries().size(), fixture().records_max());
    EXPECT_EQ(client->CountInside(), book.entries().size());
    client->Purge();
    book.Await();
    EXPECT_EQ(client->CountInside(), 0U);
  });
}

TEST_P(RecordClientConformance, WhatIsPurgedIsReportedOnceAsNotStoredOrUnknown) {
  fixture().Run([this] {
    const auto client = fixture().OpenUnreachable({});
    RecordBook book(*client, fixture().executor());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(book.Send(MessageTo("t", "k", "v"), 0).ok());
    client->Purge();
    book.Await();
    for (const RecordBook::Entry& entry : book.entries()) {
      EXPECT_EQ(entry.reports, 1);
      EXPECT_TRUE(absl::IsUnavailable(entry.status) || absl::IsUnknown(entry.status))
          << entry.status;
    }
  });
}

TEST_P(RecordClientConformance, ARecordThatCannotBeSentInTimeIsGivenUp) {
  fixture().Run([this] {
    const auto client = fixture().OpenUnreachable({.delivery_timeout = absl::Seconds(1)});
    RecordBook book(*client, fixture().executor());
    ASSERT_TRUE(book.Send(MessageTo("t", "k", "v"), 0).ok());
    book.Await(absl::Seconds(10));
    EXPECT_EQ(book.entries()[0].reports, 1);
    const absl::Status& status = book.entries()[0].status;
    EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsUnknown(status)) << status;
  });
}

TEST_P(RecordClientConformance, WhatIsTooLargeIsRefusedAndItsNeighboursAreNot) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const auto client = fixture().Open({});
    RecordBook book(*client, fixture().executor());
    ASSERT_TRUE(book.Send(MessageTo(topic, "k", "before"), 0).ok());
    absl::Status large =
        book.Send(MessageTo(topic, "k", std::string(fixture().too_large_bytes(), 'x')), 0);
    const std::size_t before = book.entries().size();
    ASSERT_TRUE(book.Send(MessageTo(topic, "k", "after"), 0).ok());
    book.Await();
    if (large.ok()) large = book.entries()[before - 1].status;
    EXPECT_TRUE(absl::IsInvalidArgument(large)) << large;
    EXPECT_TRUE(book.entries().front().status.ok());
    EXPECT_TRUE(book.entries().back().status.ok()) << book.entries().back().status;
  });
}

TEST_P(RecordClientConformance, PartitionsAreCountedAndTopicsThatDoNotExistAreSaidSo) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(5);
    const auto client = fixture().Open({});
    const absl::Time deadline = fixture().executor().Now() + absl::Seconds(20);
    const absl::StatusOr<std::int32_t> count = client->CountPartitions(topic, deadline);
    ASSERT_TRUE(count.ok()) << count.status();
    EXPECT_EQ(*count, 5);
    if (!capabilities().why_no_unknown_topic.empty()) return;
    const absl::StatusOr<std::int32_t> missing =
        client->CountPartitions(topic + "-missing", deadline);
    EXPECT_TRUE(absl::IsInvalidArgument(missing.status())) << missing.status();
  });
}

TEST_P(RecordClientConformance, NobodyWhoAnswersIsUnavailable) {
  fixture().Run([this] {
    const auto client = fixture().OpenUnreachable({});
    const absl::Time before = fixture().executor().Now();
    const auto count = client->CountPartitions("t", before + absl::Seconds(1));
    EXPECT_TRUE(absl::IsUnavailable(count.status())) << count.status();
    EXPECT_LT(fixture().executor().Now() - before, absl::Seconds(3));
  });
}

TEST_P(RecordClientConformance, APartitionThatDoesNotExistIsRefused) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const auto client = fixture().Open({});
    RecordBook book(*client, fixture().executor());
    absl::Status sent = book.Send(MessageTo(topic, "k", "v"), 99);
    book.Await();
    if (sent.ok()) sent = book.entries()[0].status;
    EXPECT_TRUE(absl::IsInvalidArgument(sent)) << sent;
  });
}

TEST_P(RecordClientConformance, ABrokenClientReportsEverythingAndTakesNothingMore) {
  if (!capabilities().why_no_break.empty()) GTEST_SKIP() << capabilities().why_no_break;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const auto client = fixture().Open({.has_no_gaps = true});
    EXPECT_TRUE(client->status().ok()) << client->status();
    RecordBook book(*client, fixture().executor());
    ASSERT_TRUE(book.Send(MessageTo(topic, "k", "0"), 0).ok());
    book.Await();
    book.ExpectAllOk();
    fixture().BreakNext(*client);
    for (int i = 1; i < 4; ++i) {
      const absl::Status sent = book.Send(MessageTo(topic, "k", absl::StrCat(i)), 0);
      EXPECT_TRUE(sent.ok() || absl::IsFailedPrecondition(sent)) << sent;
    }
    book.Await();
    EXPECT_FALSE(client->status().ok());
    for (const RecordBook::Entry& entry : book.entries()) EXPECT_EQ(entry.reports, 1);
    const absl::Status next = book.Send(MessageTo(topic, "k", "next"), 0);
    EXPECT_TRUE(absl::IsFailedPrecondition(next)) << next;
    // And another one goes on.
    const auto other = fixture().Open({.has_no_gaps = true});
    RecordBook resent(*other, fixture().executor());
    ASSERT_TRUE(resent.Send(MessageTo(topic, "k", "next"), 0).ok());
    resent.Await();
    resent.ExpectAllOk();
  });
}

TEST_P(RecordClientConformance, AWakenedPollReturnsWithoutReports) {
  fixture().Run([this] {
    const auto client = fixture().Open({});
    client->Wake();
    const absl::Time before = fixture().executor().Now();
    client->Poll(before + absl::Seconds(30), [](std::span<const RecordReport> reports) {
      ADD_FAILURE() << reports.size() << " reports of nothing";
    });
    EXPECT_LT(fixture().executor().Now() - before, absl::Seconds(10));
  });
}

}  // namespace once::testing
