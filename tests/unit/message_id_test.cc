// Identity: encodings that no two keys share, and fingerprints that tell values apart.
#include "once/message_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "once/message.h"

namespace once {
namespace {

using ::testing::HasSubstr;

// Pieces that try to be mistaken for a separator, a length or the end of a part.
const std::vector<std::string>& NastyParts() {
  static const std::vector<std::string> kParts = {"",
                                                  "a",
                                                  "b",
                                                  "ab",
                                                  "a:b",
                                                  ":",
                                                  "/",
                                                  "//",
                                                  "1:",
                                                  "1:a",
                                                  "g1:a/",
                                                  "g",
                                                  "g:a",
                                                  "n:a",
                                                  "1:a/",
                                                  "0:/",
                                                  "0",
                                                  "10",
                                                  "10:",
                                                  std::string(1, '\0'),
                                                  std::string("\0a", 2),
                                                  "\x01",
                                                  "\x01a",
                                                  "\x80",
                                                  "\x80\x01",
                                                  "\xff",
                                                  std::string(127, 'x'),
                                                  std::string(128, 'x'),
                                                  std::string(129, 'x'),
                                                  std::string(16384, 'x')};
  return kParts;
}

std::string RandomBytes(std::mt19937& random, std::size_t size_max) {
  // A small alphabet, so that pairs often differ only in where one part ends.
  constexpr char kAlphabet[] = {'a', ':', '/', '1', 'g', 'n', '\0', '\x01', '\x02', '\x80'};
  std::string bytes(random() % (size_max + 1), 'a');
  for (char& c : bytes) c = kAlphabet[random() % std::size(kAlphabet)];
  return bytes;
}

TEST(MessageId, HasOneToSeventyNineBytesOfAnyContent) {
  EXPECT_TRUE(ValidateMessageId("a").ok());
  EXPECT_TRUE(ValidateMessageId(std::string(79, '\0')).ok());
  EXPECT_TRUE(ValidateMessageId("\xff\xfe").ok());
}

TEST(MessageId, AnEmptyOrTooLongOneIsRefusedAndTheLengthNamed) {
  EXPECT_EQ(ValidateMessageId("").code(), absl::StatusCode::kInvalidArgument);
  const absl::Status status = ValidateMessageId(std::string(80, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("80 bytes"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("Sha256Of"));
}

TEST(Scope, ADefaultOneIsReadable) {
  EXPECT_EQ(GroupTopicScope("billing", "payments"), "g7:billing/payments");
}

TEST(Scope, NoTwoGroupAndTopicPairsShareOne) {
  std::map<std::string, std::pair<std::string, std::string>> seen;
  for (const std::string& group : NastyParts()) {
    for (const std::string& topic : NastyParts()) {
      const auto [entry, is_new] =
          seen.emplace(GroupTopicScope(group, topic), std::pair(group, topic));
      EXPECT_TRUE(is_new || entry->second == std::pair(group, topic)) << entry->first;
    }
  }
}

TEST(Scope, ANamedOneNeverEqualsADefaultOne) {
  std::set<std::string> defaults;
  for (const std::string& group : NastyParts()) {
    for (const std::string& topic : NastyParts()) defaults.insert(GroupTopicScope(group, topic));
  }
  std::set<std::string> named;
  for (const std::string& name : NastyParts()) {
    EXPECT_FALSE(defaults.contains(NamedScope(name)));
    EXPECT_TRUE(named.insert(NamedScope(name)).second);
  }
  EXPECT_NE(NamedScope(GroupTopicScope("a", "b")), GroupTopicScope("a", "b"));
}

TEST(IdKeyEncoding, NoTwoAdversarialKeysShareOneAndEachDecodesToItself) {
  std::set<std::string> seen;
  for (const std::string& scope : NastyParts()) {
    for (const std::string& id : NastyParts()) {
      const std::string bytes = EncodeIdKey({.scope = scope, .id = id});
      EXPECT_TRUE(seen.insert(bytes).second);
      EXPECT_EQ(DecodeIdKey(bytes), (IdKey{.scope = scope, .id = id}));
    }
  }
}

TEST(IdKeyEncoding, NoTwoRandomKeysShareOneAndEachDecodesToItself) {
  std::mt19937 random(20240607);
  std::map<std::string, std::pair<std::string, std::string>> seen;
  for (int i = 0; i < 100'000; ++i) {
    const std::pair key(RandomBytes(random, 5), RandomBytes(random, 5));
    const std::string bytes = EncodeIdKey({.scope = key.first, .id = key.second});
    const auto [entry, is_new] = seen.emplace(bytes, key);
    ASSERT_TRUE(is_new || entry->second == key);
    ASSERT_EQ(DecodeIdKey(bytes), (IdKey{.scope = key.first, .id = key.second}));
  }
}

TEST(IdKeyEncoding, WhateverDecodesEncodesToTheSameBytes) {
  std::mt19937 random(7);
  int decoded = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes(random() % 6, ' ');
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? 0x80 : random() % 6);
    const auto key = DecodeIdKey(bytes);
    if (!key) continue;
    ++decoded;
    ASSERT_EQ(EncodeIdKey(*key), bytes);
  }
  EXPECT_GT(decoded, 1000);
}

TEST(IdKeyEncoding, CutBytesAreRefused) {
  EXPECT_EQ(DecodeIdKey(""), std::nullopt);
  EXPECT_EQ(DecodeIdKey("\x03"
                        "ab"),
            std::nullopt);                       // scope of three bytes, two there
  EXPECT_EQ(DecodeIdKey("\x80"), std::nullopt);  // length goes on, and does not
  const std::string whole = EncodeIdKey({.scope = std::string(200, 's'), .id = ""});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(DecodeIdKey(std::string_view(whole).substr(0, size)), std::nullopt) << size;
  }
}

TEST(IdKeyEncoding, OverlongLengthsAreRefused) {
  EXPECT_EQ(DecodeIdKey(std::string("\x80\x00", 2)), std::nullopt);  // 0 in two bytes
  EXPECT_EQ(DecodeIdKey(std::string("\x81\x00"
                                    "a",
                                    3)),
            std::nullopt);                                                 // 1 in two bytes
  EXPECT_EQ(DecodeIdKey(std::string(20, '\x80')), std::nullopt);           // never ends
  EXPECT_EQ(DecodeIdKey(std::string(10, '\xff') + "\x01"), std::nullopt);  // more than 64 bits
}

TEST(IdKeyEncoding, TheDecodedPartsPointIntoTheBytes) {
  const std::string bytes = EncodeIdKey({.scope = "scope", .id = "id"});
  const auto key = DecodeIdKey(bytes);
  EXPECT_EQ(key->scope.data(), bytes.data() + 1);
  EXPECT_EQ(key->id.data(), bytes.data() + 6);
}

TEST(Fingerprint, ANullAndAnEmptyValueDiffer) {
  EXPECT_FALSE(Fingerprint::Of(std::nullopt).Matches(Fingerprint::Of("")));
  EXPECT_TRUE(Fingerprint::Of(std::nullopt).is_set());
  EXPECT_TRUE(Fingerprint::Of("").is_set());
}

TEST(Fingerprint, EqualValuesMatchAndOthersDoNot) {
  EXPECT_TRUE(Fingerprint::Of("10 EUR").Matches(Fingerprint::Of("10 EUR")));
  EXPECT_FALSE(Fingerprint::Of("10 EUR").Matches(Fingerprint::Of("99 EUR")));
  EXPECT_FALSE(Fingerprint::Of("a").Matches(Fingerprint::Of(std::string("a\0", 2))));
}

TEST(Fingerprint, AnUnsetOneMatchesEverything) {
  EXPECT_TRUE(Fingerprint{}.Matches(Fingerprint::Of("a")));
  EXPECT_TRUE(Fingerprint::Of("a").Matches(Fingerprint{}));
  EXPECT_FALSE(Fingerprint{}.is_set());
}

TEST(Fingerprint, StaysTheSameFromReleaseToRelease) {
  // Stored on disk: a change of algorithm or seed would turn every redelivery into a conflict.
  EXPECT_EQ(Fingerprint::Of("once").high, Fingerprint::Of("once").high);
  EXPECT_EQ(Fingerprint::Of(""),
            (Fingerprint{.high = 0x99aa06d3014798d8, .low = 0x6001c324468d497f}));
}

TEST(Fingerprint, TheDefaultFunctionLooksAtTheValueOnly) {
  const FingerprintFunction fingerprint = ValueFingerprint();
  const Message one({.topic = "orders", .offset = 1, .key = "k", .value = "v"});
  const Message other({.topic = "orders", .offset = 2, .key = "other", .value = "v"});
  const Message tombstone({.topic = "orders", .offset = 3});
  EXPECT_EQ(fingerprint(one), fingerprint(other));
  EXPECT_EQ(fingerprint(tombstone), Fingerprint::Of(std::nullopt));
  EXPECT_EQ(NoFingerprint(), nullptr);
}

}  // namespace
}  // namespace once
