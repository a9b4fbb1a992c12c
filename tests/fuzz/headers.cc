// Dead letters and redrives of messages with any headers: what belongs to the message is kept, what
// is ours stays within its bounds and is text, and a letter never forgets where it began.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "once/abseil.h"
#include "once/dead_letter.h"
#include "once/message_id.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr std::string_view kOurs = "once-";
constexpr std::string_view kOrigin = "once-origin-";
constexpr std::size_t kHeadersMax = 16;

using Headers = std::vector<OwnedHeader>;

Headers Select(const Headers& headers, const std::function<bool(const OwnedHeader&)>& is_wanted) {
  Headers selected;
  std::copy_if(headers.begin(), headers.end(), std::back_inserter(selected), is_wanted);
  return selected;
}

Headers Foreign(const Headers& headers) {
  return Select(headers, [](const OwnedHeader& header) { return !header.name.starts_with(kOurs); });
}

Headers Ours(const Headers& headers) {
  return Select(headers, [](const OwnedHeader& header) { return header.name.starts_with(kOurs); });
}

Headers Origin(const Headers& headers) {
  return Select(headers,
                [](const OwnedHeader& header) { return header.name.starts_with(kOrigin); });
}

std::optional<std::string> Owned(std::optional<std::string_view> text) {
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

bool IsUtf8(const std::string& text) {
  try {
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// The delivery of `sent` at another place.
MessageFields DeliveryOf(const OutgoingMessage& sent, std::int32_t partition, std::int64_t offset) {
  return {.topic = sent.topic,
          .partition = partition,
          .offset = offset,
          .timestamp_ms = 1'700'000'000'000,
          .key = sent.key ? std::optional<std::string_view>(*sent.key) : std::nullopt,
          .value = sent.value ? std::optional<std::string_view>(*sent.value) : std::nullopt,
          .header_reader = OwnedHeaderReader(),
          .headers_object = &sent.headers};
}

void CheckLetter(const OutgoingMessage& sent, const OutgoingMessage& letter) {
  Require(letter.key == sent.key && letter.value == sent.value, "key and value are kept");
  Require(Foreign(letter.headers) == Foreign(sent.headers), "headers of others are kept, in order");
  std::set<std::string> names;
  std::size_t bytes = 0;
  for (const OwnedHeader& header : Ours(letter.headers)) {
    Require(names.insert(header.name).second, "none of our headers is there twice");
    Require(header.value && IsUtf8(*header.value), "our headers are text");
    bytes += header.name.size() + header.value->size();
  }
  Require(bytes <= kDeadLetterHeaderBytesMax, "our headers stay within their bound");
  for (const char* name :
       {"once-disposition", "once-scope", "once-attempt", "once-error-code", "once-error-message",
        "once-origin-topic", "once-origin-partition", "once-origin-offset"}) {
    Require(names.contains(name), "what happened is said");
  }
}

void CheckRedrive(const OutgoingMessage& letter, const OutgoingMessage& redriven) {
  Require(redriven.key == letter.key && redriven.value == letter.value, "a redrive keeps the rest");
  Require(Foreign(redriven.headers) == Foreign(letter.headers), "a redrive keeps all headers");
  Require(Origin(redriven.headers) == Origin(letter.headers), "a redrive keeps the origin");
  Require(Ours(redriven.headers).size() == Origin(letter.headers).size() + 2,
          "a redrive says that it is one, and nothing of the failure");
}

DeadLetterReason TakeReason(FuzzInput& input) {
  const auto code = static_cast<absl::StatusCode>(1 + input.TakeBelow(16));
  DeadLetterReason reason{
      .disposition = static_cast<Disposition>(input.TakeBelow(8)),
      .attempt = input.Take<std::int32_t>(),
      .first_failed_at = absl::FromUnixMicros(input.Take<std::int64_t>()),
      .last_failed_at = absl::FromUnixMicros(input.Take<std::int64_t>()),
  };
  reason.id = input.TakeText();
  reason.scope = input.TakeText();
  reason.error = absl::Status(code, ToAbsl(input.TakeText()));
  return reason;
}

// What somebody sent; a broker's topics are short names.
OutgoingMessage TakeSent(FuzzInput& input) {
  OutgoingMessage sent{.topic = "orders"};
  sent.key = Owned(input.TakeOptional());
  sent.value = Owned(input.TakeOptional());
  while (!input.is_empty() && sent.headers.size() < kHeadersMax) {
    std::string name(input.TakeText());
    sent.headers.push_back({.name = std::move(name), .value = Owned(input.TakeOptional())});
  }
  return sent;
}

void Check(FuzzInput& input) {
  const DeadLetterReason reason = TakeReason(input);
  const auto partition = static_cast<std::int32_t>(input.TakeBelow(INT32_MAX));
  const auto offset = static_cast<std::int64_t>(input.TakeBelow(INT32_MAX));
  const OutgoingMessage sent = TakeSent(input);

  const OutgoingMessage letter =
      MakeDeadLetter(Message(DeliveryOf(sent, partition, offset)), reason, "orders.dlq");
  CheckLetter(sent, letter);
  const OutgoingMessage redriven = MakeRedrive(letter, {"orders", partition}, reason.id, 1);
  CheckRedrive(letter, redriven);
  // It fails again, elsewhere; and the letter itself, consumed by somebody, too.
  for (const OutgoingMessage& again : {redriven, letter}) {
    const OutgoingMessage second =
        MakeDeadLetter(Message(DeliveryOf(again, 99, 12345)), reason, "orders.dlq");
    CheckLetter(again, second);
    Require(Origin(second.headers) == Origin(letter.headers), "the first origin stays");
  }
}

SeedWriter ReasonSeed(std::string_view id, std::string_view scope, std::string_view error) {
  SeedWriter seed;
  seed.Put<std::uint32_t>(4).Put<std::uint32_t>(1).Put<std::int32_t>(3);
  seed.Put<std::int64_t>(1'700'000'000'000'000).Put<std::int64_t>(1'700'000'001'000'000);
  seed.PutText(id).PutText(scope).PutText(error);
  seed.Put<std::uint32_t>(7).Put<std::uint32_t>(4711);
  return seed;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  SeedWriter plain = ReasonSeed("order-1", "g7:billing/orders", "no such account");
  plain.PutOptional("key").PutOptional("value").PutText("trace").PutOptional("t-1");
  plain.PutText("empty").PutOptional("").PutText("null").PutOptional(std::nullopt);
  SeedWriter again = ReasonSeed("\xff\x01", "n:\xc3\xa9", std::string(9000, '\xc3'));
  again.PutOptional(std::nullopt).PutOptional("");
  again.PutText("once-origin-topic").PutOptional("first").PutText("once-origin-partition");
  again.PutOptional("1").PutText("once-origin-offset").PutOptional("2");
  again.PutText("once-origin-timestamp").PutOptional("\x80").PutText("once-id").PutOptional("x");
  SeedWriter long_error = ReasonSeed("", std::string(2000, '\x01'), std::string(9000, 'e'));
  long_error.PutOptional("key").PutOptional(std::nullopt);
  long_error.PutText("once-redrive-count").PutOptional("12").PutText("once-").PutOptional("x");
  return {plain.seed(), again.seed(), long_error.seed()};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::Check(input);
  return 0;
}
