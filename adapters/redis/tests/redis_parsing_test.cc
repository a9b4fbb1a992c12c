// URLs, replies and error words: whatever their bytes are.
#include <gmock/gmock.h>

#include "adapters/redis/address.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/server_facts.h"

namespace once::redis {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RedisUrl, EveryPartMayBeSaidOrLeftOut) {
  const auto plain = ParseUrl("redis://example.com");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->host, "example.com");
  EXPECT_EQ(plain->port, 6379);
  EXPECT_EQ(plain->database, 0);
  EXPECT_FALSE(plain->is_tls);
  const auto full = ParseUrl("rediss://clerk:p%40ss%3a@example.com:7000/12");
  ASSERT_TRUE(full.ok());
  EXPECT_TRUE(full->is_tls);
  EXPECT_EQ(full->user, "clerk");
  EXPECT_EQ(full->password, "p@ss:");
  EXPECT_EQ(full->port, 7000);
  EXPECT_EQ(full->database, 12);
  EXPECT_EQ(full->Describe(), "rediss://example.com:7000/12");
  EXPECT_EQ(ParseUrl("redis://:only@example.com")->password, "only");
  EXPECT_EQ(ParseUrl("redis://[::1]:7000")->host, "::1");
  EXPECT_EQ(ParseUrl("redis://[::1]:7000")->Describe(), "redis://[::1]:7000/0");
  EXPECT_EQ(ParseUrl("unix:/run/redis.sock")->socket_path, "/run/redis.sock");
  EXPECT_EQ(ParseUrl("unix:///run/redis.sock?database=3")->database, 3);
}

TEST(RedisUrl, WhatIsWrongIsRefusedWithoutQuotingAPassword) {
  for (const std::string_view url :
       {"", "localhost", "http://secret@host", "redis://", "redis://:secret@", "redis://host:0",
        "redis://host:65536", "redis://host:x", "redis://host/x", "redis://host/-1",
        "redis://a:secret%4@host", "redis://a:secret%zz@host", "redis://[::1", "redis://[::1]7",
        "unix:", "unix:relative", "unix:/a?db=1", "unix:/a?database=x"}) {
    const absl::Status refused = ParseUrl(url).status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << url << ": " << refused;
    EXPECT_THAT(refused.ToString(), Not(HasSubstr("secret"))) << url;
  }
}

// Fed byte by byte, as the network may.
absl::StatusOr<std::vector<Reply>> Read(std::string_view bytes) {
  ReplyReader reader;
  std::vector<Reply> replies;
  for (const char byte : bytes) {
    if (absl::Status fed = reader.Feed({&byte, 1}); !fed.ok()) return fed;
    absl::StatusOr<std::optional<Reply>> reply = reader.Next();
    if (!reply.ok()) return reply.status();
    if (reply->has_value()) replies.push_back(**std::move(reply));
  }
  return replies;
}

TEST(RedisReply, EveryKindIsRead) {
  const auto replies =
      Read("+OK\r\n-ERR no\r\n:-5\r\n$-1\r\n$3\r\na\r\n\r\n*-1\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n");
  ASSERT_TRUE(replies.ok()) << replies.status();
  ASSERT_EQ(replies->size(), 7);
  EXPECT_EQ((*replies)[0].text, "OK");
  EXPECT_TRUE((*replies)[1].is_error());
  EXPECT_EQ((*replies)[1].text, "ERR no");
  EXPECT_EQ((*replies)[2].integer, -5);
  EXPECT_EQ((*replies)[3].kind, Reply::Kind::kNil);
  EXPECT_EQ((*replies)[4].text, "a\r\n") << "three bytes, whatever they are";
  EXPECT_EQ((*replies)[5].kind, Reply::Kind::kNil);
  EXPECT_EQ((*replies)[6].elements[1].elements[0].text, "x");
}

TEST(RedisReply, WhatIsNoReplyIsRefused) {
  for (const std::string_view bytes : {"HTTP/1.1 200 OK\r\n", "$x\r\n", "*x\r\n", ":\r\n"}) {
    EXPECT_FALSE(Read(bytes).ok()) << bytes;
  }
}

// A few bytes that promise gigabytes cost none.
TEST(RedisReply, WhatIsTooMuchIsRefusedBeforeItIsAllocated) {
  EXPECT_FALSE(Read("*2000000000\r\n").ok());
  EXPECT_FALSE(Read("*16000\r\n*16000\r\n").ok());
  std::string many;
  for (int i = 0; i < 20; ++i) many += "*9\r\n";
  EXPECT_FALSE(Read(many).ok()) << "nested too deeply";
  ReplyReader reader;
  absl::Status read;
  ASSERT_TRUE(reader.Feed("$100000000\r\n").ok());
  const std::string part(64 * 1024, 'x');
  for (std::size_t fed = 0; fed <= 2 * kReplyBytesMax && read.ok(); fed += part.size()) {
    ASSERT_TRUE(reader.Feed(part).ok());
    read = reader.Next().status();
  }
  EXPECT_TRUE(absl::IsInternal(read)) << read;
}

TEST(RedisCommand, WordsMayHoldAnyBytes) {
  const std::array<std::string_view, 3> words = {"GET", "", std::string_view("\r\n\0", 3)};
  EXPECT_EQ(EncodeCommand(words), std::string("*3\r\n$3\r\nGET\r\n$0\r\n\r\n$3\r\n\r\n\0\r\n", 28));
}

TEST(RedisErrors, EachHasAClassAndAWayOut) {
  const auto code = [](std::string_view error, bool is_opening = false) {
    return ErrorStatus(error, is_opening).code();
  };
  EXPECT_EQ(code("OOM command not allowed"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("LOADING Redis is loading"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("READONLY You can't write"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("MISCONF Errors writing"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("WRONGTYPE Operation"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("MOVED 1 host:1"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("CLUSTERDOWN Hash slot not served"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("ERR SELECT is not allowed in cluster mode", true),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("WRONGPASS invalid", true), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("WRONGPASS invalid"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("ERR anything"), absl::StatusCode::kInternal);
  EXPECT_EQ(code(""), absl::StatusCode::kInternal);
  EXPECT_EQ(ErrorWord("NOSCRIPT No matching"), "NOSCRIPT");
}

TEST(RedisFacts, AServerThatIsNoneOrTooOldIsRefused) {
  EXPECT_FALSE(ParseInfo("").ok());
  EXPECT_FALSE(ParseInfo("redis_version:7.0.15\r\nrun_id:a\r\n").ok());
  ServerFacts facts = *ParseInfo(
      "# Server\r\nredis_version:6.2.7\r\nrun_id:a\r\nrole:master\r\nmaster_replid:b\r\n");
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckServes(facts)));
  facts.version = "7.0.15";
  EXPECT_TRUE(CheckServes(facts).ok());
  facts.is_loading = true;
  EXPECT_TRUE(absl::IsUnavailable(CheckServes(facts)));
}

}  // namespace
}  // namespace once::redis
