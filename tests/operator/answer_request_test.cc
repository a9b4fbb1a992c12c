// The owner's side of the protocol, without a socket: every value there and back, and nonsense.
#include "src/operator/answer_request.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/memory/store.h"
#include "once/operator_socket.h"
#include "once/transact.h"
#include "src/operator/codec.h"
#include "tests/operator/scripted_operations.h"

namespace once::operators {
namespace {

using nlohmann::json;
using testing::FailureOf;
using ::testing::HasSubstr;
using testing::KeyOf;
using testing::ScriptedOperations;

json AnswerTo(ScriptedOperations& operations, const json& request) {
  return json::parse(AnswerRequest({.operations = operations}, request.dump()));
}

json RequestOf(std::string_view call, json argument) {
  return {{kVersionName, kVersion}, {kCallName, std::string(call)}, {kArgumentName, argument}};
}

absl::Status ErrorOf(const std::string& answer) {
  const json document = json::parse(answer);
  absl::Status status;
  const bool is_error = document.contains(kErrorName) && Decode(document[kErrorName], status);
  EXPECT_TRUE(is_error) << answer;
  return status;
}

TEST(AnswerRequest, CarriesAPositionRowWithEveryField) {
  ScriptedOperations operations;
  operations.positions = {
      {.key = {.cluster = testing::AllBytes(), .group = "g", .partition = {"t", 7}},
       .stamp = {.position = 1, .revision = 2, .writer = ~std::uint64_t{0}},
       .reach = std::numeric_limits<std::int64_t>::max(),
       .last_applied = AppliedRecord{.offset = 0, .timestamp_ms = -1, .fingerprint = {3, 4}},
       .directive = PositionDirective::kLatest},
      {.key = KeyOf("t", 8)}};
  const json answer = AnswerTo(operations, RequestOf(kListPositions, nullptr));
  std::vector<StoredPosition> positions;
  ASSERT_TRUE(DecodeMember(answer, kResultName, positions)) << answer;
  ASSERT_EQ(positions.size(), 2);
  EXPECT_EQ(positions[0].key, operations.positions[0].key);
  EXPECT_EQ(positions[0].stamp, operations.positions[0].stamp);
  EXPECT_EQ(positions[0].reach, operations.positions[0].reach);
  EXPECT_EQ(positions[0].last_applied, operations.positions[0].last_applied);
  EXPECT_EQ(positions[0].directive, PositionDirective::kLatest);
  EXPECT_EQ(positions[1].last_applied, std::nullopt);
}

TEST(AnswerRequest, CarriesALetterWithEveryByte) {
  ScriptedOperations operations;
  operations.failures = {FailureOf(5, testing::AllBytes())};
  operations.failures[0].parked_reason = "too large";
  operations.failures[0].redrives = 2;
  const json answer = AnswerTo(operations, RequestOf(kFindFailures, Encode(FailureQuery{})));
  std::vector<StoredFailure> letters;
  ASSERT_TRUE(DecodeMember(answer[kResultName], kLettersName, letters)) << answer;
  ASSERT_EQ(letters.size(), 1);
  const StoredFailure& wanted = operations.failures[0];
  EXPECT_EQ(letters[0].number, wanted.number);
  EXPECT_EQ(letters[0].origin, wanted.origin);
  EXPECT_EQ(letters[0].scope, wanted.scope);
  EXPECT_EQ(letters[0].id, wanted.id);
  EXPECT_EQ(letters[0].state, wanted.state);
  EXPECT_EQ(letters[0].is_published, wanted.is_published);
  EXPECT_EQ(letters[0].parked_reason, wanted.parked_reason);
  EXPECT_EQ(letters[0].redrives, wanted.redrives);
  EXPECT_EQ(letters[0].letter, wanted.letter);
}

TEST(AnswerRequest, CarriesAnIdRecordWithItsTimes) {
  ScriptedOperations operations;
  operations.ids = {{.scope = "s",
                     .record = {.state = IdState::kRetrying,
                                .fingerprint = {1, 2},
                                .attempt = 3,
                                .first_failed_at = absl::FromUnixMicros(1'234'567),
                                .not_before = absl::InfinitePast()}}};
  const json answer = AnswerTo(operations, RequestOf(kFindId, Encode(testing::AllBytes())));
  std::vector<StoreOperations::FoundId> found;
  ASSERT_TRUE(DecodeMember(answer, kResultName, found)) << answer;
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].scope, "s");
  EXPECT_EQ(found[0].record, operations.ids[0].record);
  EXPECT_EQ(operations.asked_ids.front(), testing::AllBytes());
}

TEST(AnswerRequest, HandsEveryChangeToTheStore) {
  ScriptedOperations operations;
  const PositionOrder order{.key = KeyOf("t", 1), .position = 77, .writer = 9};
  AnswerTo(operations, RequestOf(kOrderPosition, Encode(order)));
  const RedriveRequest redrive{.number = 5,
                               .row = {.origin = {.key = KeyOf("t", 1), .ordinal = -2},
                                       .message = FailureOf(5, "x").letter,
                                       .scope = "s",
                                       .id = "x"}};
  AnswerTo(operations, RequestOf(kRedrive, Encode(redrive)));
  AnswerTo(operations, RequestOf(kDiscard, Encode(OwnedIdKey{.scope = "s", .id = "d"})));
  AnswerTo(operations, RequestOf(kResolve, Encode(OwnedIdKey{.scope = "s", .id = "r"})));
  AnswerTo(operations, RequestOf(kDropLetter, 12));

  ASSERT_EQ(operations.orders.size(), 1);
  EXPECT_EQ(operations.orders[0].key, order.key);
  EXPECT_EQ(operations.orders[0].position, 77);
  EXPECT_EQ(operations.orders[0].writer, 9);
  ASSERT_EQ(operations.redrives.size(), 1);
  EXPECT_EQ(operations.redrives[0].number, 5);
  EXPECT_EQ(operations.redrives[0].row.origin, redrive.row.origin);
  EXPECT_EQ(operations.redrives[0].row.message, redrive.row.message);
  EXPECT_EQ(operations.redrives[0].row.id, "x");
  EXPECT_THAT(operations.discards, ::testing::ElementsAre(::testing::Pair("s", "d")));
  EXPECT_THAT(operations.resolves, ::testing::ElementsAre(::testing::Pair("s", "r")));
  EXPECT_THAT(operations.dropped, ::testing::ElementsAre(12));
}

TEST(AnswerRequest, PassesOnTheStoresRefusal) {
  ScriptedOperations operations;
  operations.changed = absl::FailedPreconditionError("it is completed");
  const std::string answer =
      AnswerRequest({.operations = operations},
                    RequestOf(kDiscard, Encode(OwnedIdKey{.scope = "s", .id = "d"})).dump());
  EXPECT_EQ(ErrorOf(answer), operations.changed);
}

TEST(AnswerRequest, NamesItsVersionToAnotherOne) {
  ScriptedOperations operations;
  json request = RequestOf(kListPositions, nullptr);
  request[kVersionName] = kVersion + 1;
  const absl::Status error = ErrorOf(AnswerRequest({.operations = operations}, request.dump()));
  EXPECT_EQ(error.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(error.message()),
              HasSubstr("speaks version " + std::to_string(kVersion)));
}

TEST(AnswerRequest, CutsALongListAndSaysSo) {
  ScriptedOperations operations;
  for (int i = 1; i <= 10; ++i) {
    operations.failures.push_back(FailureOf(i, "id"));
    operations.failures.back().letter.value = std::string(5'000'000, 'x');
  }
  const std::string answer = AnswerRequest({.operations = operations},
                                           RequestOf(kFindFailures, Encode(FailureQuery{})).dump());
  EXPECT_LE(answer.size(), kOperatorLineBytesMax);
  const json result = json::parse(answer)[kResultName];
  EXPECT_LT(result[kLettersName].size(), 10);
  EXPECT_GT(result[kLettersName].size(), 0);
  EXPECT_TRUE(result[kHasMoreName].get<bool>());
}

TEST(AnswerRequest, RefusesAnAnswerThatIsTooLong) {
  ScriptedOperations operations;
  operations.failures = {FailureOf(1, "id")};
  operations.failures.back().letter.value = std::string(kOperatorLineBytesMax, 'x');
  const absl::Status error = ErrorOf(AnswerRequest(
      {.operations = operations}, RequestOf(kFindFailures, Encode(FailureQuery{})).dump()));
  EXPECT_EQ(error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(error.message()), HasSubstr("closed store"));
}

TEST(AnswerRequest, RefusesNumbersOutOfRangeAndWrongTypes) {
  ScriptedOperations operations;
  const json good = Encode(PositionOrder{.key = KeyOf("t", 1)});
  const std::vector<std::pair<std::string, json>> wrong = {{"/directive", 5},
                                                           {"/directive", -1},
                                                           {"/directive", "set"},
                                                           {"/position", 1.5},
                                                           {"/position", 1e300},
                                                           {"/writer", -1},
                                                           {"/key/partition", 1LL << 40},
                                                           {"/key/topic", "not base64!"},
                                                           {"/key", json::array()},
                                                           {"/key/cluster", nullptr}};
  for (const auto& [pointer, value] : wrong) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    const absl::Status error =
        ErrorOf(AnswerRequest({.operations = operations}, RequestOf(kOrderPosition, bad).dump()));
    EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument) << pointer << " " << value;
  }
  EXPECT_TRUE(operations.orders.empty());
}

TEST(AnswerRequest, AnswersWhatIsNoRequest) {
  ScriptedOperations operations;
  const std::string deep(100'000, '[');
  const std::string wide = "[" + std::string(1'000'000, '1') + ",2]";
  std::string many = "{\"once_operator\":2,\"call\":\"greet\",\"argument\":[0";
  for (int i = 0; i < 300'000; ++i) many += ",0";
  many += "]}";
  for (const std::string& line :
       {std::string(), std::string("\0\0", 2), std::string("null"), std::string("[]"),
        std::string("{}"), std::string("{\"once_operator\":2}"),
        std::string("{\"once_operator\":2,\"call\":7}"),
        std::string("{\"once_operator\":\"2\",\"call\":\"greet\"}"), deep, "{\"a\":" + deep, wide,
        many}) {
    EXPECT_FALSE(ErrorOf(AnswerRequest({.operations = operations}, line)).ok())
        << line.substr(0, 60);
  }
  EXPECT_EQ(
      ErrorOf(AnswerRequest({.operations = operations}, RequestOf("drop_tables", nullptr).dump()))
          .code(),
      absl::StatusCode::kUnimplemented);
}

// Requests with bytes changed, cut, doubled or inserted: every one has an answer, and it is JSON.
TEST(AnswerRequest, SurvivesDamagedRequests) {
  ScriptedOperations operations;
  operations.failures = {FailureOf(1, "id")};
  const std::vector<std::string> whole = {
      RequestOf(kOrderPosition, Encode(PositionOrder{.key = KeyOf("t", 1)})).dump(),
      RequestOf(kRedrive,
                Encode(RedriveRequest{.number = 1, .row = {.message = FailureOf(1, "i").letter}}))
          .dump(),
      RequestOf(kFindFailures, Encode(FailureQuery{.id = "x"})).dump(),
      RequestOf(kDiscard, Encode(OwnedIdKey{.scope = "s", .id = "d"})).dump()};
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string line = whole[random() % whole.size()];
    for (auto damage = random() % 4 + 1; damage > 0; --damage) {
      const std::size_t at = random() % (line.size() + 1);
      switch (random() % 4) {
        case 0:
          line.resize(at);
          break;
        case 1:
          line.insert(at, 1, static_cast<char>(random()));
          break;
        case 2:
          line.insert(at, line.substr(random() % (line.size() + 1), random() % 64));
          break;
        default:
          if (at < line.size()) line[at] = static_cast<char>(random());
      }
    }
    const std::string answer = AnswerRequest({.operations = operations}, line);
    ASSERT_EQ(answer.find('\n'), answer.size() - 1) << line;
    const json document = json::parse(answer, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(document.is_object()) << line;
    if (document.contains(kErrorName)) ++refused;
  }
  EXPECT_GT(refused, 10'000) << "most damage shows";
}

// A log in memory, asked as an owner is.
TEST(AnswerRequest, AnswersForTheLogOfOutgoingMessages) {
  ScriptedOperations operations;
  const auto store = memory::OpenStore();
  OutgoingLog& log = *store->transactions()->outgoing();
  const Desks desks{.operations = operations, .outgoing = &log};
  const auto ask = [&](std::string_view call, const json& argument) {
    return json::parse(AnswerRequest(desks, RequestOf(call, argument).dump()));
  };
  const OutgoingMessage message{.topic = "orders", .key = "k", .value = std::string("\0\xff", 2)};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Transact(*store, [&](Transaction& transaction) {
                  return transaction.Publish(message);
                }).ok());
  }
  const auto unplaced = log.FindUnplaced(0, {.rows_max = 10, .bytes_max = 1000});
  ASSERT_TRUE(unplaced.ok());
  const RefusedRow refused{.number = 1, .reason = absl::InvalidArgumentError("too large")};
  ASSERT_TRUE(log.Advance({.refused = {&refused, 1}}).ok());

  OutgoingCounts counts;
  ASSERT_TRUE(Decode(ask(kCountOutgoing, nullptr)[kResultName], counts));
  EXPECT_EQ(counts.waiting, 3U);
  EXPECT_EQ(counts.parked, 1U);
  const json page = ask(kListWaiting, Encode(RowQuery{.after = 0, .rows_max = 2}))[kResultName];
  std::vector<OutgoingRow> rows;
  ASSERT_TRUE(DecodeMember(page, kRowsName, rows)) << page;
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].message, message);
  EXPECT_EQ(page[kHasMoreName], false) << "as many as were wanted";
  std::vector<ParkedRow> parked;
  ASSERT_TRUE(DecodeMember(ask(kListParked, Encode(RowQuery{.rows_max = 9}))[kResultName],
                           kRowsName, parked));
  ASSERT_EQ(parked.size(), 1U);
  EXPECT_THAT(parked[0].reason, HasSubstr("too large"));
  EXPECT_GT(parked[0].parked_at, absl::UnixEpoch());
  EXPECT_TRUE(ask(kUnpark, Encode(RowWord{.number = 2})).contains(kErrorName));
  EXPECT_FALSE(ask(kGiveUp, Encode(RowWord{.number = 1, .reason = "why"})).contains(kErrorName));
  std::vector<DiscardedRow> discarded;
  ASSERT_TRUE(DecodeMember(ask(kListDiscarded, Encode(RowQuery{.rows_max = 9}))[kResultName],
                           kRowsName, discarded));
  ASSERT_EQ(discarded.size(), 1U);
  EXPECT_EQ(discarded[0].reason, "why");
  EXPECT_EQ(ask(kUnparkTopic, Encode(std::string_view("orders")))[kResultName], 0);
  EXPECT_TRUE(ask(kListParked, Encode(RowWord{.number = 2})).contains(kErrorName));
}

TEST(AnswerRequest, CarriesTheDamageOfARow) {
  OutgoingRow row{.number = 7, .damage = absl::DataLossError("row 7 is damaged")};
  OutgoingRow back;
  ASSERT_TRUE(Decode(Encode(row), back));
  EXPECT_EQ(back.damage, row.damage);
  EXPECT_EQ(back.put_at, absl::InfinitePast());
}

TEST(AnswerRequest, SaysThatTheStoreHasNoLogOfOutgoingMessages) {
  ScriptedOperations operations;
  const std::string answer =
      AnswerRequest({.operations = operations}, RequestOf(kCountOutgoing, nullptr).dump());
  EXPECT_EQ(ErrorOf(answer).code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace once::operators
