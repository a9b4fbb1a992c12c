// The id extractors. Each is a small pure function over headers, key, value or position.
#include "once/id_extractor.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "once/abseil.h"

namespace once {

// An extractor that finds nothing and says why it never could.
IdExtractor InvalidExtractor(std::string name, absl::Status status) {
  IdExtractor extractor(std::move(name), [](const Message&, std::string&) {
    return std::optional<std::string_view>();
  });
  extractor.status_ = std::move(status);
  return extractor;
}

namespace {

constexpr std::size_t kSha256Bytes = 32;

std::optional<std::string_view> HeaderValue(const Message& message, std::string_view name) {
  const std::optional<Header> header = message.FindHeader(name);
  return header ? header->value : std::nullopt;
}

// Four bytes, big-endian: no content can be mistaken for a length.
void AppendFixed32(std::uint32_t value, std::string& out) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xFF));
  }
}

void AppendFixed64(std::uint64_t value, std::string& out) {
  AppendFixed32(static_cast<std::uint32_t>(value >> 32), out);
  AppendFixed32(static_cast<std::uint32_t>(value), out);
}

// A null part and an empty one differ: null has no length, and is marked.
void AppendPart(std::optional<std::string_view> part, std::string& out) {
  out.push_back(part ? 1 : 0);
  if (!part) return;
  AppendFixed32(static_cast<std::uint32_t>(part->size()), out);
  out.append(*part);
}

void Sha256(std::string_view bytes, std::string& digest) {
  std::array<unsigned char, kSha256Bytes> hash{};
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr);
  digest.assign(reinterpret_cast<const char*>(hash.data()), size);
}

// The reference tokens of an RFC 6901 pointer; nullopt when it is malformed.
std::optional<std::vector<std::string>> ParsePointer(std::string_view pointer) {
  if (pointer.empty() || pointer.front() != '/') return std::nullopt;
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < pointer.size(); ++i) {
    const char c = pointer[i];
    if (c == '/') {
      tokens.emplace_back();
    } else if (c != '~') {
      tokens.back().push_back(c);
    } else {
      ++i;
      if (i == pointer.size() || (pointer[i] != '0' && pointer[i] != '1')) return std::nullopt;
      tokens.back().push_back(pointer[i] == '0' ? '~' : '/');
    }
  }
  return tokens;
}

// One step down; null when there is nothing of that name.
const nlohmann::json* Descend(const nlohmann::json& from, const std::string& token) {
  if (from.is_object()) {
    const auto member = from.find(token);
    return member == from.end() ? nullptr : &*member;
  }
  constexpr std::size_t kIndexDigitsMax = 9;
  const bool is_index =
      from.is_array() && !token.empty() && token.size() <= kIndexDigitsMax &&
      std::all_of(token.begin(), token.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_index || (token.size() > 1 && token.front() == '0')) return nullptr;
  const std::size_t index = std::stoul(token);
  return index < from.size() ? &from[index] : nullptr;
}

std::optional<std::string_view> ExtractPointer(const std::vector<std::string>& tokens,
                                               std::string_view value, std::string& scratch) {
  const nlohmann::json document = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json* node = document.is_discarded() ? nullptr : &document;
  for (const std::string& token : tokens) {
    if (node != nullptr) node = Descend(*node, token);
  }
  if (node == nullptr) return std::nullopt;
  if (node->is_string()) {
    scratch = node->get_ref<const std::string&>();
  } else if (node->is_number_integer()) {
    scratch = node->dump();
  } else {
    return std::nullopt;
  }
  return scratch;
}

}  // namespace

IdExtractor::IdExtractor(std::string name, IdFunction extract)
    : name_(std::move(name)), extract_(std::move(extract)) {
  if (!extract_) status_ = absl::InvalidArgumentError("id extractor " + name_ + " has no function");
}

IdExtractor HeaderId(const std::string& header_name) {
  std::string name = "header " + header_name;
  if (header_name.empty()) {
    return InvalidExtractor(name, absl::InvalidArgumentError("HeaderId: the header name is empty"));
  }
  return {std::move(name), [header_name](const Message& message, std::string&) {
            return HeaderValue(message, header_name);
          }};
}

IdExtractor CloudEventsId() {
  return {"CloudEvents ce_source + ce_id",
          [](const Message& message, std::string& scratch) -> std::optional<std::string_view> {
            const auto source = HeaderValue(message, "ce_source");
            const auto id = HeaderValue(message, "ce_id");
            if (!source || !id) return std::nullopt;
            scratch.clear();
            AppendFixed32(static_cast<std::uint32_t>(source->size()), scratch);
            scratch.append(*source).append(*id);
            return scratch;
          }};
}

IdExtractor DebeziumOutboxId() { return HeaderId("id"); }

IdExtractor IdempotencyKeyId() { return HeaderId("Idempotency-Key"); }

IdExtractor BrokerMessageId() { return FirstOf({HeaderId("message_id"), HeaderId("KEYS")}); }

IdExtractor JsonPointerId(const std::string& pointer) {
  std::string name = "JSON pointer " + pointer;
  std::optional<std::vector<std::string>> tokens = ParsePointer(pointer);
  if (!tokens) {
    return InvalidExtractor(
        name, absl::InvalidArgumentError("JsonPointerId: '" + pointer +
                                         "' is not an RFC 6901 pointer such as '/order/id'"));
  }
  return {std::move(name),
          [tokens = *std::move(tokens)](const Message& message,
                                        std::string& scratch) -> std::optional<std::string_view> {
            if (!message.value()) return std::nullopt;
            return ExtractPointer(tokens, *message.value(), scratch);
          }};
}

IdExtractor ContentSha256Id() {
  return {"content SHA-256",
          [](const Message& message, std::string& scratch) -> std::optional<std::string_view> {
            std::string content;
            AppendPart(message.key(), content);
            AppendPart(message.value(), content);
            Sha256(content, scratch);
            return scratch;
          }};
}

IdExtractor PositionId() {
  IdExtractor extractor(
      "partition and offset",
      [](const Message& message, std::string& scratch) -> std::optional<std::string_view> {
        scratch.clear();
        AppendFixed32(static_cast<std::uint32_t>(message.partition()), scratch);
        AppendFixed64(static_cast<std::uint64_t>(message.offset()), scratch);
        return scratch;
      });
  extractor.identifies_delivery_ = true;
  return extractor;
}

IdExtractor Sha256Of(IdExtractor inner) {
  std::string name = "SHA-256 of " + inner.name();
  const absl::Status status = inner.status();
  const bool identifies_delivery = inner.identifies_delivery();
  IdExtractor extractor(
      std::move(name),
      [inner = std::move(inner)](const Message& message,
                                 std::string& scratch) -> std::optional<std::string_view> {
        std::string inner_scratch;
        const auto id = inner.Extract(message, inner_scratch);
        if (!id) return std::nullopt;
        Sha256(*id, scratch);
        return scratch;
      });
  extractor.status_ = status;
  extractor.identifies_delivery_ = identifies_delivery;
  return extractor;
}

IdExtractor FirstOf(std::vector<IdExtractor> extractors) {
  std::string name = "first of";
  absl::Status status = extractors.empty()
                            ? absl::InvalidArgumentError("FirstOf: needs at least one extractor")
                            : absl::OkStatus();
  bool identifies_delivery = false;
  for (const IdExtractor& extractor : extractors) {
    name.append(&extractor == &extractors.front() ? " " : ", ").append(extractor.name());
    status.Update(extractor.status());
    identifies_delivery = identifies_delivery || extractor.identifies_delivery();
  }
  IdExtractor chain(
      std::move(name),
      [extractors = std::move(extractors)](
          const Message& message, std::string& scratch) -> std::optional<std::string_view> {
        for (const IdExtractor& extractor : extractors) {
          if (auto id = extractor.Extract(message, scratch)) return id;
        }
        return std::nullopt;
      });
  chain.status_ = std::move(status);
  chain.identifies_delivery_ = identifies_delivery;
  return chain;
}

IdExtractor StandardIdHeaders() {
  return FirstOf({CloudEventsId(), DebeziumOutboxId(), IdempotencyKeyId(), BrokerMessageId(),
                  HeaderId("once-id")});
}

}  // namespace once
