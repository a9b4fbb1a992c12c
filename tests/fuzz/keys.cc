// What names a message: scopes, dedup keys, fingerprints and the ids that are found in messages.
// All are injective and bounded, and what can be read is what was written.
#include <algorithm>
#include <array>

#include "once/id_extractor.h"
#include "once/message_id.h"
#include "src/identify.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr std::size_t kLengthBytesMax = 10;  // of a varint
constexpr std::size_t kSha256Bytes = 32;

// The same bytes cut in two at two places: what only concatenates alike must stay apart.
struct Cuts {
  std::string_view bytes;
  std::size_t first = 0;
  std::size_t second = 0;

  std::string_view Left(std::size_t cut) const { return bytes.substr(0, cut); }
  std::string_view Right(std::size_t cut) const { return bytes.substr(cut); }
};

Cuts TakeCuts(FuzzInput& input) {
  const std::size_t first = input.Take<std::uint8_t>();
  const std::size_t second = input.Take<std::uint8_t>();
  const std::string_view bytes = input.rest();
  return {bytes, std::min(first, bytes.size()), std::min(second, bytes.size())};
}

void CheckKeys(const Cuts& cuts) {
  const IdKey one{.scope = cuts.Left(cuts.first), .id = cuts.Right(cuts.first)};
  const IdKey other{.scope = cuts.Left(cuts.second), .id = cuts.Right(cuts.second)};
  const std::string bytes = EncodeIdKey(one);
  Require(DecodeIdKey(bytes) == one, "a key comes back as it was");
  Require(bytes.size() <= cuts.bytes.size() + kLengthBytesMax, "a key is as long as its parts");
  Require((bytes == EncodeIdKey(other)) == (one == other), "different keys have different bytes");
  const std::string name = IdempotencyKey(one);
  Require(name.size() == 2 * kSha256Bytes &&
              name.find_first_not_of("0123456789abcdef") == std::string::npos,
          "an idempotency key has 64 hex digits");
  Require((name == IdempotencyKey(other)) == (one == other), "different keys have different names");
  const std::optional<IdKey> read = DecodeIdKey(cuts.bytes);
  Require(!read || EncodeIdKey(*read) == cuts.bytes, "what can be read as a key was written so");
}

void CheckScopes(const Cuts& cuts) {
  const auto scope_of = [&](std::size_t cut) {
    return GroupTopicScope(cuts.Left(cut), cuts.Right(cut));
  };
  Require((scope_of(cuts.first) == scope_of(cuts.second)) == (cuts.first == cuts.second),
          "different groups and topics have different scopes");
  Require(NamedScope(cuts.bytes) != scope_of(cuts.first), "a named scope is no default one");
  Require((NamedScope(cuts.Left(cuts.first)) == NamedScope(cuts.Left(cuts.second))) ==
              (cuts.first == cuts.second),
          "different names have different scopes");
}

void CheckFingerprints(const Cuts& cuts) {
  const Fingerprint one = Fingerprint::Of(cuts.Left(cuts.first));
  Require(one.is_set() && one.Matches(Fingerprint::Of(cuts.Left(cuts.first))),
          "equal values match");
  Require(one.Matches(Fingerprint::Of(cuts.Left(cuts.second))) == (cuts.first == cuts.second),
          "different values do not match");
  Require(!one.Matches(Fingerprint::Of(std::nullopt)), "null matches no value");
}

// What every extractor finds in a message with these parts; the shortest form of a check that
// nobody reads beyond the message.
void CheckIds(const Cuts& cuts) {
  const std::array<const char*, 6> names = {"ce_source",       "ce_id",      "id",
                                            "Idempotency-Key", "message_id", "KEYS"};
  const std::array<IdExtractor, 8> extractors = {StandardIdHeaders(),
                                                 CloudEventsId(),
                                                 JsonPointerId("/order/id"),
                                                 JsonPointerId("/0/a~1b~0"),
                                                 PositionId(),
                                                 ContentSha256Id(),
                                                 Sha256Of(CloudEventsId()),
                                                 JsonPointerId(std::string(cuts.Left(cuts.first)))};
  std::vector<OwnedHeader> headers;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if ((cuts.first >> i & 1) == 0) continue;
    headers.push_back({.name = names[i], .value = std::string(cuts.Left(cuts.second))});
  }
  const Message message({.topic = "orders",
                         .key = cuts.Left(cuts.first),
                         .value = cuts.Right(cuts.first),
                         .header_reader = OwnedHeaderReader(),
                         .headers_object = &headers});
  for (const IdExtractor& extractor : extractors) {
    Identity identity;
    Identify(message, extractor, ValueFingerprint(), identity);
    const bool is_valid = !identity.id.empty() && identity.id.size() <= kMessageIdBytesMax;
    Require(identity.id_error.ok() == is_valid, "an id is valid, or there is an error and none");
    Require(is_valid || absl::IsNotFound(identity.id_error) ||
                absl::IsInvalidArgument(identity.id_error),
            "an id is missing or invalid");
    Require(!is_valid || identity.fingerprint.is_set(), "what has an id has a fingerprint");
  }
}

void CheckPairs(const Cuts& cuts) {
  const auto id_of = [&](std::size_t cut, std::string& scratch) {
    const std::vector<OwnedHeader> headers = {{"ce_source", std::string(cuts.Left(cut))},
                                              {"ce_id", std::string(cuts.Right(cut))}};
    const Message message({.header_reader = OwnedHeaderReader(), .headers_object = &headers});
    return CloudEventsId().Extract(message, scratch);
  };
  std::string first;
  std::string second;
  Require((id_of(cuts.first, first) == id_of(cuts.second, second)) == (cuts.first == cuts.second),
          "different pairs of source and id are different ids");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const auto seed = [](std::uint8_t first, std::uint8_t second, std::string_view bytes) {
    return SeedWriter().Put(first).Put(second).seed() + std::string(bytes);
  };
  return {seed(2, 3, "a:bc"),
          seed(7, 0, "billingpayments/1"),
          seed(1, 2, std::string_view("\x01sid", 4)),
          seed(0, 5, R"({"order":{"id":"o-1","n":17}})"),
          seed(10, 1, R"(/order/id0{"order":{"id":18446744073709551615}})"),
          seed(0, 0, R"([{"a/b~":-5}])"),
          seed(63, 20, std::string(300, 'x')),
          seed(200, 128, std::string(300, '\x80'))};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  const once::testing::Cuts cuts = once::testing::TakeCuts(input);
  once::testing::CheckKeys(cuts);
  once::testing::CheckScopes(cuts);
  once::testing::CheckFingerprints(cuts);
  once::testing::CheckIds(cuts);
  once::testing::CheckPairs(cuts);
  return 0;
}
