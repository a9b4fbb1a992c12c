// The id extractors, one by one and chained.
#include "once/id_extractor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "once/message_id.h"

namespace once {
namespace {

using ::testing::HasSubstr;

// A message built by hand; it owns its headers.
struct Sample {
  std::optional<std::string> value = std::nullopt;
  std::vector<OwnedHeader> headers = {};
  std::optional<std::string> key = std::nullopt;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
};

std::optional<std::string> IdOf(const IdExtractor& extractor, const Sample& sample) {
  MessageFields fields{.topic = "orders",
                       .partition = sample.partition,
                       .offset = sample.offset,
                       .header_reader = OwnedHeaderReader(),
                       .headers_object = &sample.headers};
  if (sample.key) fields.key = *sample.key;
  if (sample.value) fields.value = *sample.value;
  const Message message(fields);
  std::string scratch;
  const auto id = extractor.Extract(message, scratch);
  if (!id) return std::nullopt;
  return std::string(*id);
}

std::optional<std::string> IdAt(const std::string& pointer, const std::string& json) {
  return IdOf(JsonPointerId(pointer), {.value = json});
}

TEST(HeaderId, IsTheValueOfTheLastHeaderOfThatName) {
  EXPECT_EQ(IdOf(HeaderId("id"), {.headers = {{"id", "1"}, {"id", "2"}, {"ID", "3"}}}), "2");
}

TEST(HeaderId, AMissingOrNullHeaderIsNoId) {
  EXPECT_EQ(IdOf(HeaderId("id"), {}), std::nullopt);
  EXPECT_EQ(IdOf(HeaderId("id"), {.headers = {{"id", std::nullopt}}}), std::nullopt);
}

TEST(HeaderId, AnEmptyHeaderIsAnIdForTheCallerToRefuse) {
  EXPECT_EQ(IdOf(HeaderId("id"), {.headers = {{"id", ""}}}), "");
}

TEST(HeaderId, AnEmptyNameIsInvalid) {
  EXPECT_EQ(HeaderId("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(IdOf(HeaderId(""), {.headers = {{"", "x"}}}), std::nullopt);
  EXPECT_TRUE(HeaderId("id").status().ok());
  EXPECT_EQ(HeaderId("payment-id").name(), "header payment-id");
}

TEST(CloudEventsId, NeedsSourceAndId) {
  EXPECT_EQ(IdOf(CloudEventsId(), {.headers = {{"ce_id", "1"}}}), std::nullopt);
  EXPECT_EQ(IdOf(CloudEventsId(), {.headers = {{"ce_source", "/shop"}}}), std::nullopt);
  EXPECT_EQ(IdOf(CloudEventsId(), {.headers = {{"ce_source", std::nullopt}, {"ce_id", "1"}}}),
            std::nullopt);
  EXPECT_TRUE(IdOf(CloudEventsId(), {.headers = {{"ce_source", "/shop"}, {"ce_id", "1"}}}));
}

TEST(CloudEventsId, DoesNotConfuseWhereTheSourceEnds) {
  const auto one = IdOf(CloudEventsId(), {.headers = {{"ce_source", "a"}, {"ce_id", "bc"}}});
  const auto other = IdOf(CloudEventsId(), {.headers = {{"ce_source", "ab"}, {"ce_id", "c"}}});
  EXPECT_NE(one, other);
}

TEST(NamedHeaderIds, ReadTheHeadersOfTheirConventions) {
  EXPECT_EQ(IdOf(DebeziumOutboxId(), {.headers = {{"id", "u-1"}}}), "u-1");
  EXPECT_EQ(IdOf(IdempotencyKeyId(), {.headers = {{"Idempotency-Key", "k"}}}), "k");
  EXPECT_EQ(IdOf(BrokerMessageId(), {.headers = {{"KEYS", "r"}}}), "r");
  EXPECT_EQ(IdOf(BrokerMessageId(), {.headers = {{"KEYS", "r"}, {"message_id", "m"}}}), "m");
}

TEST(JsonPointerId, FindsStringsAndIntegers) {
  EXPECT_EQ(IdAt("/order/id", R"({"order":{"id":"o-7"}})"), "o-7");
  EXPECT_EQ(IdAt("/order/id", R"({"order":{"id":42}})"), "42");
  EXPECT_EQ(IdAt("/id", R"({"id":-42})"), "-42");
  EXPECT_EQ(IdAt("/id", R"({"id":18446744073709551615})"), "18446744073709551615");
  EXPECT_EQ(IdAt("/id", R"({"id":"\u00e9"})"), "\xc3\xa9");
}

TEST(JsonPointerId, OtherTypesAreNoId) {
  for (const char* json : {R"({"id":1.5})", R"({"id":null})", R"({"id":true})", R"({"id":{}})",
                           R"({"id":[]})", R"({"id":1e3})", R"({"id":99999999999999999999999})"}) {
    EXPECT_EQ(IdAt("/id", json), std::nullopt) << json;
  }
}

TEST(JsonPointerId, FollowsTheEscapesOfRfc6901) {
  EXPECT_EQ(IdAt("/a~1b", R"({"a/b":"slash"})"), "slash");
  EXPECT_EQ(IdAt("/m~0n", R"({"m~n":"tilde"})"), "tilde");
  EXPECT_EQ(IdAt("/~01", R"({"~1":"not a slash"})"), "not a slash");
  EXPECT_EQ(IdAt("/", R"({"":"empty name"})"), "empty name");
  EXPECT_EQ(IdAt("//x", R"({"":{"x":"deeper"}})"), "deeper");
  EXPECT_EQ(IdAt("/ ", R"({" ":"blank"})"), "blank");
}

TEST(JsonPointerId, StepsIntoArraysByIndex) {
  EXPECT_EQ(IdAt("/lines/1/id", R"({"lines":[{"id":"a"},{"id":"b"}]})"), "b");
  EXPECT_EQ(IdAt("/0", R"(["a"])"), "a");
  for (const char* pointer : {"/1", "/00", "/-", "/-1", "/x", "/9999999999", "/"}) {
    EXPECT_EQ(IdAt(pointer, R"(["a"])"), std::nullopt) << pointer;
  }
}

TEST(JsonPointerId, AnIndexIsAlsoAMemberName) {
  EXPECT_EQ(IdAt("/00", R"({"00":"member"})"), "member");
}

TEST(JsonPointerId, FindsNothingBelowAScalar) {
  EXPECT_EQ(IdAt("/id/x", R"({"id":"a"})"), std::nullopt);
}

TEST(JsonPointerId, AValueThatIsNotJsonHasNoId) {
  for (const char* text : {"", "{", "not json", "{\"id\":\"a\"} trailing", "{\"id\":\"\xff\"}",
                           "\x80\x04\x95", "<id>a</id>"}) {
    EXPECT_EQ(IdAt("/id", text), std::nullopt) << text;
  }
  EXPECT_EQ(IdOf(JsonPointerId("/id"), {}), std::nullopt);
}

TEST(JsonPointerId, SurvivesHostileNesting) {
  EXPECT_EQ(IdAt("/id", std::string(200'000, '[')), std::nullopt);
  const std::string nested = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_EQ(IdAt("/id", nested), std::nullopt);
}

TEST(JsonPointerId, AMalformedPointerIsInvalidAndNamed) {
  for (const char* pointer : {"", "id", "order/id", "/a~", "/a~2b", "/~"}) {
    const absl::Status status = JsonPointerId(pointer).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pointer;
    EXPECT_THAT(std::string(status.message()), HasSubstr(pointer));
    EXPECT_EQ(IdAt(pointer, R"({"id":"a"})"), std::nullopt) << pointer;
  }
}

TEST(ContentSha256Id, IsTheSameForTheSameContentOnly) {
  const IdExtractor extractor = ContentSha256Id();
  const auto id = IdOf(extractor, {.value = "v", .key = "k"});
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->size(), 32U);
  EXPECT_EQ(id, IdOf(extractor, {.value = "v", .headers = {{"h", "1"}}, .key = "k", .offset = 9}));
  EXPECT_NE(id, IdOf(extractor, {.value = "k", .key = "v"}));
  EXPECT_NE(IdOf(extractor, {.value = "bc", .key = "a"}),
            IdOf(extractor, {.value = "c", .key = "ab"}));
  EXPECT_NE(IdOf(extractor, {.value = "", .key = ""}), IdOf(extractor, {.value = ""}));
  EXPECT_NE(IdOf(extractor, {.value = ""}), IdOf(extractor, {}));
}

TEST(PositionId, TellsDeliveriesApartAndSaysSo) {
  const IdExtractor extractor = PositionId();
  EXPECT_TRUE(extractor.identifies_delivery());
  EXPECT_FALSE(HeaderId("id").identifies_delivery());
  const auto id = IdOf(extractor, {.partition = 1, .offset = 2});
  EXPECT_EQ(id->size(), 12U);
  EXPECT_NE(id, IdOf(extractor, {.partition = 2, .offset = 1}));
  EXPECT_NE(id, IdOf(extractor, {.partition = 1, .offset = 3}));
  EXPECT_TRUE(ValidateMessageId(*id).ok());
}

TEST(Sha256Of, DigestsWhatTheInnerExtractorFinds) {
  const IdExtractor extractor = Sha256Of(HeaderId("id"));
  const auto id = IdOf(extractor, {.headers = {{"id", "abc"}}});
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(id->substr(0, 4), "\xba\x78\x16\xbf");
  EXPECT_EQ(id->size(), 32U);
  EXPECT_EQ(IdOf(extractor, {}), std::nullopt);
  EXPECT_EQ(extractor.name(), "SHA-256 of header id");
}

TEST(Sha256Of, PassesOnWhatTheInnerExtractorIs) {
  EXPECT_TRUE(Sha256Of(PositionId()).identifies_delivery());
  EXPECT_FALSE(Sha256Of(HeaderId("")).status().ok());
}

TEST(Sha256Of, WorksOnAnIdThatLiesInScratch) {
  const auto id =
      IdOf(Sha256Of(CloudEventsId()), {.headers = {{"ce_source", "s"}, {"ce_id", "1"}}});
  EXPECT_EQ(id->size(), 32U);
}

TEST(FirstOf, TheFirstHitWins) {
  const IdExtractor chain = FirstOf({HeaderId("a"), HeaderId("b")});
  EXPECT_EQ(IdOf(chain, {.headers = {{"b", "2"}, {"a", "1"}}}), "1");
  EXPECT_EQ(IdOf(chain, {.headers = {{"b", "2"}}}), "2");
  EXPECT_EQ(IdOf(chain, {.headers = {{"a", std::nullopt}, {"b", "2"}}}), "2");
  EXPECT_EQ(IdOf(chain, {}), std::nullopt);
  EXPECT_EQ(chain.name(), "first of header a, header b");
}

TEST(FirstOf, AnEmptyChainOrAnInvalidMemberIsInvalid) {
  EXPECT_EQ(FirstOf({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(FirstOf({HeaderId("a"), JsonPointerId("bad")}).status().ok());
  EXPECT_TRUE(FirstOf({HeaderId("a")}).status().ok());
}

TEST(FirstOf, IdentifiesDeliveriesWhenOneMemberDoes) {
  EXPECT_TRUE(FirstOf({HeaderId("a"), PositionId()}).identifies_delivery());
}

TEST(StandardIdHeaders, TriesTheConventionsInTheirOrder) {
  std::vector<OwnedHeader> headers = {{"once-id", "6"}};
  EXPECT_EQ(IdOf(StandardIdHeaders(), {.headers = headers}), "6");
  headers.push_back({"KEYS", "5"});
  headers.push_back({"message_id", "4"});
  EXPECT_EQ(IdOf(StandardIdHeaders(), {.headers = headers}), "4");
  headers.push_back({"Idempotency-Key", "3"});
  EXPECT_EQ(IdOf(StandardIdHeaders(), {.headers = headers}), "3");
  headers.push_back({"id", "2"});
  EXPECT_EQ(IdOf(StandardIdHeaders(), {.headers = headers}), "2");
  headers.push_back({"ce_source", "s"});
  headers.push_back({"ce_id", "1"});
  EXPECT_EQ(IdOf(StandardIdHeaders(), {.headers = headers}), std::string("\0\0\0\1s1", 6));
  EXPECT_TRUE(StandardIdHeaders().status().ok());
}

TEST(IdExtractor, WithoutAFunctionIsInvalid) {
  EXPECT_FALSE(IdExtractor("mine", nullptr).status().ok());
}

TEST(IdExtractor, TakesAFunctionOfOnesOwn) {
  const IdExtractor mine("key", [](const Message& message, std::string&) { return message.key(); });
  EXPECT_EQ(IdOf(mine, {.key = "k"}), "k");
}

}  // namespace
}  // namespace once
