// The dead-letter envelope: what is kept, what is replaced, and what gives way.
#include "once/dead_letter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "once/message_id.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kFirst = absl::FromUnixSeconds(1'700'000'000);

DeadLetterReason SomeReason() {
  return {.disposition = Disposition::kRetriesExhausted,
          .id = "pay-1",
          .scope = "g7:billing/payments",
          .attempt = 5,
          .first_failed_at = kFirst,
          .last_failed_at = kFirst + absl::Minutes(10),
          .error = absl::UnavailableError("ledger is down")};
}

OutgoingMessage LetterFor(const std::vector<OwnedHeader>& headers,
                          const DeadLetterReason& reason = SomeReason()) {
  const Message message({.topic = "payments",
                         .partition = 3,
                         .offset = 42,
                         .timestamp_ms = 1'600'000'000'123,
                         .key = "account-1",
                         .value = "10 EUR",
                         .header_reader = OwnedHeaderReader(),
                         .headers_object = &headers});
  return MakeDeadLetter(message, reason, "payments.billing.dlq");
}

std::string HeaderText(const OutgoingMessage& letter, const std::string& name) {
  const auto found = std::find_if(letter.headers.begin(), letter.headers.end(),
                                  [&](const OwnedHeader& header) { return header.name == name; });
  return found == letter.headers.end() ? "(none)" : found->value.value_or("(null)");
}

// What of the letter is ours, in bytes.
std::size_t OnceBytes(const OutgoingMessage& letter) {
  std::size_t bytes = 0;
  for (const OwnedHeader& header : letter.headers) {
    if (header.name.starts_with("once-")) bytes += header.name.size() + header.value->size();
  }
  return bytes;
}

// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text) {
  std::size_t i = 0;
  const auto byte = [&](std::size_t at) -> unsigned {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  while (i < text.size()) {
    const unsigned lead = byte(i);
    const std::size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    unsigned code = lead < 0x80 ? lead : lead & (0xFFU >> (size + 1));
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
      code = (code << 6) | (byte(i + k) & 0x3F);
    }
    constexpr unsigned kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
    const bool is_lone = lead >= 0x80 && lead < 0xC0;
    if (is_lone || is_surrogate || code < kSmallest[size] || code > 0x10FFFF) return false;
    i += size;
  }
  return true;
}

TEST(DeadLetter, SaysWhatHappenedAndWhereItCameFrom) {
  const OutgoingMessage letter = LetterFor({});
  EXPECT_EQ(letter.topic, "payments.billing.dlq");
  EXPECT_EQ(letter.partition, std::nullopt);
  const std::map<std::string, std::string> expected = {
      {"once-disposition", "retries-exhausted"},
      {"once-id", "pay-1"},
      {"once-scope", "g7:billing/payments"},
      {"once-attempt", "5"},
      {"once-first-failed-at", "2023-11-14T22:13:20+00:00"},
      {"once-last-failed-at", "2023-11-14T22:23:20+00:00"},
      {"once-error-code", "UNAVAILABLE"},
      {"once-error-message", "ledger is down"},
      {"once-origin-topic", "payments"},
      {"once-origin-partition", "3"},
      {"once-origin-offset", "42"},
      {"once-origin-timestamp", "1600000000123"}};
  std::map<std::string, std::string> actual;
  for (const OwnedHeader& header : letter.headers) actual[header.name] = header.value.value();
  EXPECT_EQ(actual, expected);
  EXPECT_EQ(letter.headers.size(), expected.size());
}

TEST(DeadLetter, KeepsKeyAndValue) {
  const OutgoingMessage letter = LetterFor({});
  EXPECT_EQ(letter.key, "account-1");
  EXPECT_EQ(letter.value, "10 EUR");
}

TEST(DeadLetter, KeepsANullAndAnEmptyKeyAndValueAsTheyAre) {
  const OutgoingMessage null = MakeDeadLetter(Message({.topic = "t"}), SomeReason(), "dlq");
  EXPECT_EQ(null.key, std::nullopt);
  EXPECT_EQ(null.value, std::nullopt);
  const OutgoingMessage empty =
      MakeDeadLetter(Message({.topic = "t", .key = "", .value = ""}), SomeReason(), "dlq");
  EXPECT_EQ(empty.key, "");
  EXPECT_EQ(empty.value, "");
}

TEST(DeadLetter, KeepsForeignHeadersInOrderAlsoRepeatedAndNullAndBinaryOnes) {
  const std::vector<OwnedHeader> headers = {{"trace", "1"},
                                            {"id", "pay-1"},
                                            {"trace", "2"},
                                            {"null", std::nullopt},
                                            {"binary", std::string("\0\xff", 2)},
                                            {"onceler", "not ours"},
                                            {"Once-id", "not ours"}};
  OutgoingMessage letter = LetterFor(headers);
  letter.headers.resize(headers.size());
  EXPECT_EQ(letter.headers, headers);
}

TEST(DeadLetter, ForgedHeadersOfOursAreReplaced) {
  const OutgoingMessage letter = LetterFor({{"once-attempt", "-1"},
                                            {"once-id", "another"},
                                            {"once-id", "and another"},
                                            {"once-disposition", std::nullopt},
                                            {"once-redrive-count", "77"},
                                            {"once-invented", "x"}});
  EXPECT_EQ(HeaderText(letter, "once-attempt"), "5");
  EXPECT_EQ(HeaderText(letter, "once-id"), "pay-1");
  EXPECT_EQ(HeaderText(letter, "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderText(letter, "once-redrive-count"), "(none)");
  EXPECT_EQ(HeaderText(letter, "once-invented"), "(none)");
  EXPECT_EQ(letter.headers.size(), 12U);
}

TEST(DeadLetter, ALetterThatFailsAgainKeepsItsFirstOrigin) {
  const OutgoingMessage letter = LetterFor({{"once-origin-topic", "orders"},
                                            {"once-origin-partition", "9"},
                                            {"once-origin-offset", "1000"},
                                            {"once-origin-timestamp", "5"},
                                            {"once-attempt", "2"}});
  EXPECT_EQ(HeaderText(letter, "once-origin-topic"), "orders");
  EXPECT_EQ(HeaderText(letter, "once-origin-partition"), "9");
  EXPECT_EQ(HeaderText(letter, "once-origin-offset"), "1000");
  EXPECT_EQ(HeaderText(letter, "once-origin-timestamp"), "5");
  EXPECT_EQ(HeaderText(letter, "once-attempt"), "5");
}

TEST(DeadLetter, AnOriginThatIsNotWholeIsReplaced) {
  const OutgoingMessage letter =
      LetterFor({{"once-origin-topic", "orders"}, {"once-origin-partition", std::nullopt}});
  EXPECT_EQ(HeaderText(letter, "once-origin-topic"), "payments");
  EXPECT_EQ(HeaderText(letter, "once-origin-offset"), "42");
}

TEST(DeadLetter, WithoutARecordTimeThereIsNoOriginTimestamp) {
  const OutgoingMessage letter = MakeDeadLetter(Message({.topic = "t"}), SomeReason(), "dlq");
  EXPECT_EQ(HeaderText(letter, "once-origin-timestamp"), "(none)");
}

TEST(DeadLetter, WithoutAnIdThereIsNoIdHeader) {
  DeadLetterReason reason = SomeReason();
  reason.id = "";
  EXPECT_EQ(HeaderText(LetterFor({}, reason), "once-id"), "(none)");
}

TEST(DeadLetter, BytesThatAreNotTextAreWrittenInHexadecimal) {
  DeadLetterReason reason = SomeReason();
  const std::pair<std::string, std::string> cases[] = {
      {"\xff\x01", "hex:ff01"},
      {std::string("a\0b", 3), "hex:610062"},
      {"cut \xc3", "hex:63757420c3"},
      {"\x80", "hex:80"},
      {"\xc0\xaf", "hex:c0af"},              // an overlong slash
      {"\xe0\x80\xaf", "hex:e080af"},        // the same, longer
      {"\xed\xa0\x80", "hex:eda080"},        // a surrogate
      {"\xf0\x80\x80\xaf", "hex:f08080af"},  // overlong again
      {"\xf4\x90\x80\x80", "hex:f4908080"},  // beyond U+10FFFF
      {"é ✓ \xf0\x9f\x8e\x89", "é ✓ \xf0\x9f\x8e\x89"}};
  for (const auto& [id, text] : cases) {
    reason.id = id;
    EXPECT_EQ(HeaderText(LetterFor({}, reason), "once-id"), text);
  }
}

TEST(DeadLetter, AnErrorOfSeveralLinesStaysReadable) {
  DeadLetterReason reason = SomeReason();
  reason.error = absl::InternalError("SQL failed:\n\tno such table");
  EXPECT_THAT(HeaderText(LetterFor({}, reason), "once-error-message"), HasSubstr("no such table"));
}

TEST(DeadLetter, AHugeErrorMessageGivesWayToTheBudget) {
  DeadLetterReason reason = SomeReason();
  reason.error = absl::InternalError(std::string(1'000'000, 'x'));
  const OutgoingMessage letter = LetterFor({}, reason);
  EXPECT_LE(OnceBytes(letter), kDeadLetterHeaderBytesMax);
  EXPECT_GT(OnceBytes(letter), kDeadLetterHeaderBytesMax - 16);
  EXPECT_THAT(HeaderText(letter, "once-error-message"), StartsWith("xxxx"));
  EXPECT_THAT(HeaderText(letter, "once-error-message"), EndsWith("(cut)"));
}

TEST(DeadLetter, AHugeErrorMessageIsCutBetweenCharacters) {
  for (const std::string character : {"é", "✓", "\xf0\x9f\x8e\x89"}) {
    for (std::size_t shift = 0; shift < 5; ++shift) {
      std::string text(shift, 'x');
      while (text.size() < 20'000) text += character;
      DeadLetterReason reason = SomeReason();
      reason.error = absl::InternalError(text);
      const OutgoingMessage letter = LetterFor({}, reason);
      EXPECT_TRUE(IsUtf8(HeaderText(letter, "once-error-message"))) << character << shift;
      EXPECT_LE(OnceBytes(letter), kDeadLetterHeaderBytesMax);
    }
  }
}

TEST(DeadLetter, TheBudgetHoldsWhateverIsLong) {
  DeadLetterReason reason = SomeReason();
  const std::string id(kMessageIdBytesMax, '\xff');
  const std::string scope(100'000, '\xff');
  reason.id = id;
  reason.scope = scope;
  reason.error = absl::InternalError(std::string(100'000, '\xff'));
  const std::string long_origin(256, '\xff');
  const OutgoingMessage letter = LetterFor({{"once-origin-topic", long_origin},
                                            {"once-origin-partition", long_origin},
                                            {"once-origin-offset", long_origin},
                                            {"once-origin-timestamp", long_origin}},
                                           reason);
  EXPECT_LE(OnceBytes(letter), kDeadLetterHeaderBytesMax);
  for (const OwnedHeader& header : letter.headers) EXPECT_TRUE(IsUtf8(*header.value));
}

TEST(DeadLetter, TheDefaultTopicNamesOriginAndGroup) {
  EXPECT_EQ(DefaultDeadLetterTopic("payments", "billing"), "payments.billing.dlq");
}

TEST(DeadLetter, EveryDispositionHasAName) {
  std::vector<std::string> names;
  for (int number = 0; number <= static_cast<int>(Disposition::kManual); ++number) {
    names.emplace_back(ToString(static_cast<Disposition>(number)));
  }
  EXPECT_THAT(names, ElementsAre("rejected", "retries-exhausted", "conflict", "no-id", "invalid-id",
                                 "uncertain", "expired", "manual"));
}

}  // namespace
}  // namespace once
