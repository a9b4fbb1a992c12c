// The operators' socket without the socket: any line as a request to the owner of a real store, and
// any line as an answer to a client.
#include <nlohmann/json.hpp>

#include "once/memory/store.h"
#include "once/operator_socket.h"
#include "src/operator/answer_request.h"
#include "src/operator/codec.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/operator/scripted_operations.h"

namespace once::testing {
namespace {

using nlohmann::json;

constexpr const char* kScope = "g7:billing/orders";

// A store with a row of each kind that a request may name.
std::shared_ptr<memory::Store> MakeStore() {
  auto store = memory::OpenStore({.now = [] { return absl::UnixEpoch() + absl::Hours(1); }});
  const TakeRequest take{.key = KeyOf("orders", 3), .writer = 1, .start = 17};
  Require(store->transactions()->Take({&take, 1}).ok(), "the row can be taken");
  auto begun = store->transactions()->Begin({});
  Require(begun.ok(), "a transaction can begin");
  std::vector<IdWrite> writes;
  for (const auto& [id, state] :
       {std::pair{"done", IdState::kCompleted}, std::pair{"dead", IdState::kDead},
        std::pair{"doubt", IdState::kUncertain}, std::pair{"again", IdState::kRetrying}}) {
    writes.push_back({.key = {kScope, id}, .record = {.state = state, .attempt = 2}});
  }
  const StoredFailure failure = FailureOf(1, "dead");
  const OutboxRow row{
      .origin = failure.origin, .message = failure.letter, .scope = kScope, .id = "dead"};
  Require(begun->transaction->PutIds(writes).ok() &&
              begun->transaction->PutOutgoing({&row, 1}).ok() &&
              begun->transaction->Commit(Durability::kMachine).ok(),
          "the store can be filled");
  return store;
}

void CheckRequest(std::string_view line) {
  const auto store = MakeStore();
  const std::string answer = operators::AnswerRequest(
      {.operations = *store->operations(), .outgoing = store->transactions()->outgoing()}, line);
  Require(answer.size() <= kOperatorLineBytesMax && answer.find('\n') == answer.size() - 1,
          "an answer is one line");
  const auto document = operators::ParseDocument(answer);
  Require(document.ok(), "an answer is a document");
  Require(document->value(operators::kVersionName, std::int64_t{0}) == operators::kVersion,
          "an answer says its version");
  absl::Status error;
  const bool is_error = operators::DecodeMember(*document, operators::kErrorName, error);
  Require(is_error != document->contains(operators::kResultName), "an answer is one of the two");
  Require(!is_error || !error.ok(), "an error is none");
}

// What is understood is written in one way, and understood again.
template <typename T>
void CheckValue(const json& from, T value = {}) {
  if (!operators::Decode(from, value)) return;
  const json written = operators::Encode(value);
  T again{};
  Require(operators::Decode(written, again), "what was written is understood");
  Require(operators::Encode(again) == written, "what was written comes back as it was");
}

void CheckAnswer(std::string_view line) {
  const auto document = operators::ParseDocument(line);
  if (!document.ok()) return;
  for (const json& value : *document) {
    CheckValue<std::string>(value);
    CheckValue<absl::Status>(value);
    CheckValue<PartitionKey>(value);
    CheckValue<StoredPosition>(value);
    CheckValue<PositionOrder>(value);
    CheckValue<OutgoingMessage>(value);
    CheckValue<OutboxRow>(value);
    CheckValue<StoredFailure>(value);
    CheckValue<FailureQuery>(value);
    CheckValue<RedriveRequest>(value);
    CheckValue<StoreOperations::FoundId>(value);
    CheckValue<operators::OwnedIdKey>(value);
    CheckValue<std::vector<StoredPosition>>(value);
    CheckValue<std::vector<StoreOperations::FoundId>>(value);
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = {"{}", "[[[[[[[[[[[[", R"({"once_operator":4,"call":"greet"})"};
  const auto add = [&](std::string_view call, json argument) {
    seeds.push_back(json{{operators::kVersionName, operators::kVersion},
                         {operators::kCallName, std::string(call)},
                         {operators::kArgumentName, std::move(argument)}}
                        .dump());
  };
  const StoredFailure failure = FailureOf(1, "dead");
  const OutboxRow row{
      .origin = failure.origin, .message = failure.letter, .scope = kScope, .id = "dead"};
  add(operators::kGreet, nullptr);
  add(operators::kListPositions, nullptr);
  add(operators::kFindFailures, operators::Encode(FailureQuery{.id = "dead", .scope = kScope}));
  add(operators::kFindFailures, operators::Encode(FailureQuery{}));
  add(operators::kFindId, operators::Encode(std::string_view("doubt")));
  add(operators::kOrderPosition,
      operators::Encode(PositionOrder{.key = KeyOf("orders", 3), .position = 5, .writer = 9}));
  add(operators::kRedrive, operators::Encode(RedriveRequest{.number = 1, .row = row}));
  add(operators::kDropLetter, 1);
  for (const std::string_view call : {operators::kDiscard, operators::kResolve}) {
    for (const char* id : {"dead", "doubt", "again"}) {
      add(call, operators::Encode(operators::OwnedIdKey{.scope = kScope, .id = id}));
    }
  }
  const StoredPosition position{.key = KeyOf("t", 7),
                                .stamp = {1, 2, ~std::uint64_t{0}},
                                .last_applied = AppliedRecord{.offset = 0, .fingerprint = {3, 4}}};
  const StoreOperations::FoundId found{
      .scope = kScope,
      .record = {.state = IdState::kRetrying, .first_failed_at = absl::UnixEpoch()}};
  for (const json& result :
       {operators::Encode(position), operators::Encode(failure), operators::Encode(found),
        operators::Encode(absl::NotFoundError("no such letter")),
        operators::Encode(std::vector<StoredPosition>{position, position})}) {
    seeds.push_back(json{
        {operators::kVersionName, operators::kVersion},
        {operators::kResultName,
         result}}.dump());
  }
  return seeds;
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line = once::testing::FuzzInput(data, size).rest();
  once::testing::CheckRequest(line);
  once::testing::CheckAnswer(line);
  return 0;
}
