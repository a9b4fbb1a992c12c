// Outbox rows as bytes: nothing but what the encoder writes can be read, and every
// message and origin comes back as it was.
#include "src/stores/outbox_codec.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr std::size_t kHeadersMax = 16;

void CheckBytes(std::string_view bytes) {
  const auto message = stores::DecodeMessage(bytes);
  Require(!message.ok() || stores::EncodeMessage(*message) == bytes,
          "a message that can be read is what its message is written as");
  const auto origin = stores::DecodeOrigin(bytes);
  Require(!origin.ok() || stores::EncodeOrigin(*origin) == bytes,
          "an origin that can be read is what its origin is written as");
}

std::optional<std::string> Owned(std::optional<std::string_view> text) {
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

void CheckValues(FuzzInput& input) {
  OutgoingMessage message{.topic = std::string(input.TakeText())};
  if (input.TakeBool()) message.partition = input.Take<std::int32_t>();
  message.key = Owned(input.TakeOptional());
  message.value = Owned(input.TakeOptional());
  OutboxOrigin origin{.key = {.cluster = std::string(input.TakeText()),
                              .group = std::string(input.TakeText()),
                              .partition = {std::string(input.TakeText()), 7}},
                      .offset = input.Take<std::int64_t>(),
                      .timestamp_ms = input.Take<std::int64_t>(),
                      .scope = std::string(input.TakeText()),
                      .ordinal = input.Take<std::int32_t>()};
  while (!input.is_empty() && message.headers.size() < kHeadersMax) {
    std::string name(input.TakeText());
    message.headers.push_back({.name = std::move(name), .value = Owned(input.TakeOptional())});
  }
  const auto same_message = stores::DecodeMessage(stores::EncodeMessage(message));
  Require(same_message.ok() && *same_message == message, "a message comes back as it was");
  const auto same_origin = stores::DecodeOrigin(stores::EncodeOrigin(origin));
  Require(same_origin.ok() && *same_origin == origin, "an origin comes back as it was");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const OutgoingMessage message{.topic = "orders.dlq",
                                .partition = 3,
                                .key = "key",
                                .value = std::nullopt,
                                .headers = {{"name", "value"}, {"null", std::nullopt}}};
  OutboxOrigin origin{.key = {.cluster = "c", .group = "g", .partition = {"orders", 1}},
                      .offset = 5,
                      .timestamp_ms = 1'700,
                      .scope = "g1:g/orders",
                      .ordinal = -1};
  std::vector<std::string> seeds = {stores::EncodeMessage(message), stores::EncodeOrigin(origin)};
  origin.scope.clear();
  seeds.push_back(stores::EncodeOrigin(origin));
  seeds.push_back(SeedWriter().PutText("t").Put<std::uint8_t>(0).PutOptional("k").seed());
  return seeds;
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::CheckBytes(input.rest());
  once::testing::CheckValues(input);
  return 0;
}
