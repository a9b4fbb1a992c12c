// Slots, maps of them, and redirections: as the specification has them, and whatever the bytes are.
#include <gmock/gmock.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/slots.h"

namespace once::redis {
namespace {

using ::testing::HasSubstr;

// "123456789" is the specification's own; the others are CLUSTER KEYSLOT's answers of 7.0.15.
TEST(RedisSlots, KeysLieWhereTheSpecificationPutsThem) {
  EXPECT_EQ(Crc16("123456789"), 0x31C3);
  EXPECT_EQ(Crc16(""), 0);
  EXPECT_EQ(SlotOf("123456789"), 12739);
  EXPECT_EQ(SlotOf("foo"), 12182);
  EXPECT_EQ(SlotOf("bar"), 5061);
  EXPECT_EQ(SlotOf("hello"), 866);
  EXPECT_EQ(SlotOf(""), 0);
}

TEST(RedisSlots, WhatIsInTheFirstBracesDecides) {
  EXPECT_EQ(SlotOf("{user1000}.following"), SlotOf("user1000"));
  EXPECT_EQ(SlotOf("{user1000}.following"), SlotOf("{user1000}.followers"));
  EXPECT_EQ(SlotOf("foo{}{bar}"), Crc16("foo{}{bar}") % kSlots) << "nothing in the first ones";
  EXPECT_EQ(SlotOf("foo{{bar}}zap"), SlotOf("{bar"));
  EXPECT_EQ(SlotOf("foo{bar}{zap}"), SlotOf("bar"));
  EXPECT_EQ(SlotOf("foo{bar"), Crc16("foo{bar") % kSlots);
}

TEST(RedisSlots, KeysOfOneStoreAreSpread) {
  const KeyNames names("once:");
  std::set<int> slots;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = absl::StrCat(i);
    slots.insert(SlotOf(names.OfId({.scope = "scope", .id = id})));
  }
  EXPECT_GT(slots.size(), 900);
  EXPECT_EQ(SlotOf(names.OfStore()), SlotOf(names.OfScopes()));
}

TEST(RedisSlots, ForEverySlotThereIsAWordThatLiesInIt) {
  for (int slot = 0; slot < kSlots; slot += 1021) {
    const auto tag = TagWithin("witness.2", [&](int each) { return each == slot; });
    ASSERT_TRUE(tag.has_value()) << slot;
    const std::string key = KeyNames("p:").OfWitness(*tag, 0xabc);
    EXPECT_EQ(SlotOf(key), slot) << key;
    EXPECT_EQ(KeyNames("p:").Read(key).kind, KeyNames::Kind::kWitness) << key;
  }
  EXPECT_EQ(TagWithin("any", [](int) { return true; }), "any");
}

TEST(RedisSlots, AWitnessIsOneWhateverItsSlot) {
  const KeyNames names("p:");
  for (const char* const key : {"p:{witness}:7", "p:{witness.0}:7f", "p:{witness.1f.2}:7"}) {
    EXPECT_EQ(names.Read(key).kind, KeyNames::Kind::kWitness) << key;
  }
  for (const char* const key : {"p:{witness", "p:{witness}:", "p:{witness.}:7", "p:{witness.1.}:7",
                                "p:{witness.x}:7", "p:{witnesses}:7", "p:{witness.1}:x"}) {
    EXPECT_EQ(names.Read(key).kind, KeyNames::Kind::kForeign) << key;
  }
}

Reply Read(std::string_view bytes) {
  ReplyReader reader;
  EXPECT_TRUE(reader.Feed(bytes).ok());
  auto reply = reader.Next();
  EXPECT_TRUE(reply.ok() && reply->has_value()) << bytes;
  return reply.ok() && reply->has_value() ? **std::move(reply) : Reply{};
}

std::string Node(const char* host, int port, const char* id) {
  return absl::StrCat("*4\r\n", host, "\r\n:", port, "\r\n$", std::string_view(id).size(), "\r\n",
                      id, "\r\n*0\r\n");
}

TEST(RedisSlots, AMapIsReadWithNodesOfEveryKind) {
  const auto ranges =
      ParseSlots(Read(absl::StrCat("*3\r\n*4\r\n:0\r\n:99\r\n", Node("$9\r\n127.0.0.1", 7000, "a"),
                                   Node("$9\r\n127.0.0.1", 7001, "b"),  // its replica
                                   "*3\r\n:100\r\n:100\r\n", Node("$-1", 7002, "c"),
                                   "*3\r\n:101\r\n:16383\r\n", Node("$0\r\n", 7003, "d"))));
  ASSERT_TRUE(ranges.ok()) << ranges.status();
  ASSERT_EQ(ranges->size(), 3);
  EXPECT_EQ((*ranges)[0].last, 99);
  EXPECT_EQ((*ranges)[0].master, (NodePlace{.host = "127.0.0.1", .port = 7000}));
  EXPECT_EQ((*ranges)[0].master_id, "a");
  EXPECT_EQ((*ranges)[1].master, (NodePlace{.host = "", .port = 7002})) << "where it was asked";
  EXPECT_EQ((*ranges)[2].master.host, "");
  EXPECT_TRUE(ParseSlots(Read("*0\r\n"))->empty()) << "nobody has slots";
}

TEST(RedisSlots, WhatIsNoMapIsRefused) {
  const std::string node = Node("$1\r\nh", 7000, "a");
  for (const std::string& bytes : {
           std::string("+OK\r\n"),
           std::string(":1\r\n"),
           std::string("*1\r\n:1\r\n"),
           std::string("*1\r\n*2\r\n:0\r\n:1\r\n"),
           "*1\r\n*3\r\n:5\r\n:4\r\n" + node,
           "*1\r\n*3\r\n:-1\r\n:4\r\n" + node,
           "*1\r\n*3\r\n:0\r\n:16384\r\n" + node,
           "*1\r\n*3\r\n$1\r\n0\r\n:4\r\n" + node,
           std::string("*1\r\n*3\r\n:0\r\n:4\r\n:7\r\n"),
           std::string("*1\r\n*3\r\n:0\r\n:4\r\n*2\r\n$1\r\nh\r\n:7000\r\n"),
           "*1\r\n*3\r\n:0\r\n:4\r\n" + Node("$1\r\nh", 0, "a"),
           "*1\r\n*3\r\n:0\r\n:4\r\n" + Node("$1\r\nh", 65536, "a"),
           "*1\r\n*3\r\n:0\r\n:4\r\n" + Node("$1\r\nh", 7000, ""),
           "*1\r\n*3\r\n:0\r\n:4\r\n" + Node(":5", 7000, "a"),
       }) {
    EXPECT_TRUE(absl::IsInternal(ParseSlots(Read(bytes)).status())) << bytes;
  }
  const absl::Status nameless =
      ParseSlots(Read("*1\r\n*3\r\n:0\r\n:4\r\n" + Node("$1\r\n?", 7000, "a"))).status();
  EXPECT_TRUE(absl::IsUnavailable(nameless)) << nameless;
  EXPECT_THAT(nameless.ToString(), HasSubstr("cluster-announce-hostname"));
  EXPECT_FALSE(ParseSlots(Read("-NOPERM no\r\n")).ok());
}

TEST(RedisSlots, RedirectionsSayWhereAndForHowLong) {
  const auto moved = ParseRedirection("MOVED 3999 127.0.0.1:6381");
  ASSERT_TRUE(moved.has_value());
  EXPECT_FALSE(moved->is_for_once);
  EXPECT_EQ(moved->slot, 3999);
  EXPECT_EQ(moved->to, (NodePlace{.host = "127.0.0.1", .port = 6381}));
  const auto ask = ParseRedirection("ASK 0 ::1:6381");
  ASSERT_TRUE(ask.has_value());
  EXPECT_TRUE(ask->is_for_once);
  EXPECT_EQ(ask->to.host, "::1");
  EXPECT_EQ(ParseRedirection("MOVED 16383 :6381")->to.host, "") << "where it was asked";
}

TEST(RedisSlots, WhatIsNoRedirectionIsNotFollowed) {
  for (const char* const error :
       {"", "MOVED", "ERR MOVED 1 a:1", "MOVED 1", "MOVED 1 a:1 b", "MOVED x a:1", "MOVED -1 a:1",
        "MOVED 16384 a:1", "MOVED 1 a", "MOVED 1 a:", "MOVED 1 a:0", "MOVED 1 a:65536",
        "MOVED 1 a:1x", "MOVED 1 ?:1", "moved 1 a:1", "ASKING 1 a:1", "MOVED  1 a:1",
        "MOVED 99999999999999999999 a:1"}) {
    EXPECT_FALSE(ParseRedirection(error).has_value()) << error;
  }
}

}  // namespace
}  // namespace once::redis
