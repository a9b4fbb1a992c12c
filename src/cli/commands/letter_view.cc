// Headers into words; payloads only where they were asked for.
#include "src/cli/commands/letter_view.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kOurPrefix = "once-";

std::string FindHeader(const OutgoingMessage& letter, std::string_view name) {
  const auto found = std::find_if(letter.headers.begin(), letter.headers.end(),
                                  [&](const OwnedHeader& header) { return header.name == name; });
  return found == letter.headers.end() ? "" : found->value.value_or("");
}

bool IsOurs(const OwnedHeader& header) {
  return std::string_view(header.name).substr(0, kOurPrefix.size()) == kOurPrefix;
}

ordered_json NameOrNull(const std::string& bytes) {
  return bytes.empty() ? ordered_json() : ordered_json(ShowBytes(bytes));
}

// JSON escapes what a terminal would not bear.
ordered_json TextOrNull(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

ordered_json BytesOrNull(const std::optional<std::string>& bytes) {
  return bytes ? ordered_json(ShowBytes(*bytes)) : ordered_json();
}

// A number where it is one.
ordered_json Count(const std::string& text) {
  std::int64_t number = 0;
  return absl::SimpleAtoi(text, &number) ? ordered_json(number) : TextOrNull(text);
}

// The payload as text, or else as base64: it is for programs, and may be long.
ordered_json DescribeValue(const std::optional<std::string>& value, LetterDetail detail) {
  if (!value) return ordered_json();
  ordered_json described = {{"bytes", value->size()}};
  if (detail != LetterDetail::kPayload) return described;
  const ordered_json probe = *value;
  try {
    static_cast<void>(probe.dump());  // refuses what is not UTF-8
    described["text"] = *value;
  } catch (const ordered_json::type_error&) {
    described["base64"] = absl::Base64Escape(*value);
  }
  return described;
}

std::string ShowValue(const std::optional<std::string>& value, LetterDetail detail) {
  if (!value) return "null";
  if (detail == LetterDetail::kPayload) return ShowSentence(*value);
  return absl::StrCat(value->size(), " bytes, masked; --payload shows them");
}

}  // namespace

LetterReasons ReadReasons(const OutgoingMessage& letter) {
  return {.disposition = FindHeader(letter, "once-disposition"),
          .attempts = FindHeader(letter, "once-attempt"),
          .error_code = FindHeader(letter, "once-error-code"),
          .error_message = FindHeader(letter, "once-error-message"),
          .first_failed_at = FindHeader(letter, "once-first-failed-at"),
          .last_failed_at = FindHeader(letter, "once-last-failed-at")};
}

std::string ShowOrigin(const OutboxOrigin& origin) {
  const TopicPartition& partition = origin.key.partition;
  return absl::StrCat(ShowBytes(partition.topic), "[", partition.partition, "]@", origin.offset);
}

ordered_json DescribeFailure(const StoredFailure& failure, LetterDetail detail) {
  const LetterReasons reasons = ReadReasons(failure.letter);
  const OutboxOrigin& origin = failure.origin;
  ordered_json described = {
      {"number", failure.number},
      {"id", NameOrNull(failure.id)},
      {"scope", NameOrNull(failure.scope)},
      {"scope_in_words",
       failure.scope.empty() ? ordered_json() : ordered_json(ShowScope(failure.scope))},
      {"cluster", ShowBytes(origin.key.cluster)},
      {"group", ShowBytes(origin.key.group)},
      {"topic", ShowBytes(origin.key.partition.topic)},
      {"partition", origin.key.partition.partition},
      {"offset", origin.offset},
      {"disposition", TextOrNull(reasons.disposition)},
      {"attempts", Count(reasons.attempts)},
      {"error_code", TextOrNull(reasons.error_code)},
      {"error_message", TextOrNull(reasons.error_message)},
      {"first_failed_at", TextOrNull(reasons.first_failed_at)},
      {"last_failed_at", TextOrNull(reasons.last_failed_at)},
      {"state", ToString(failure.state)},
      {"published", failure.is_published},
      {"parked_reason", TextOrNull(failure.parked_reason)},
      {"redrives", failure.redrives},
      {"letter_topic", ShowBytes(failure.letter.topic)}};
  if (detail == LetterDetail::kSummary) return described;
  described["key"] = BytesOrNull(failure.letter.key);
  ordered_json headers = ordered_json::array();
  for (const OwnedHeader& header : failure.letter.headers) {
    if (IsOurs(header)) continue;
    headers.push_back({{"name", ShowBytes(header.name)}, {"value", BytesOrNull(header.value)}});
  }
  described["headers"] = std::move(headers);
  described["value"] = DescribeValue(failure.letter.value, detail);
  return described;
}

std::string ShowFailure(const StoredFailure& failure, LetterDetail detail) {
  const LetterReasons reasons = ReadReasons(failure.letter);
  std::string text;
  const auto add = [&](std::string_view name, const std::string& value) {
    const std::size_t width = 14;
    const std::string blanks(width > name.size() ? width - name.size() : 1, ' ');
    if (!value.empty()) absl::StrAppend(&text, ToAbsl(name), blanks, value, "\n");
  };
  add("number", absl::StrCat(failure.number));
  add("id", failure.id.empty() ? "none" : ShowBytes(failure.id));
  add("of", failure.scope.empty() ? "" : ShowScope(failure.scope));
  add("from", ShowOrigin(failure.origin));
  add("cluster", ShowBytes(failure.origin.key.cluster));
  add("disposition", ShowBytes(reasons.disposition));
  add("attempts", ShowBytes(reasons.attempts));
  add("error",
      absl::StrCat(ShowSentence(reasons.error_code), ": ", ShowSentence(reasons.error_message)));
  add("first failed", ShowSentence(reasons.first_failed_at));
  add("last failed", ShowSentence(reasons.last_failed_at));
  add("state", std::string(ToString(failure.state)));
  add("redriven", absl::StrCat(failure.redrives, " times"));
  add("letter", absl::StrCat(ShowBytes(failure.letter.topic),
                             failure.is_published ? ", published" : ", not yet published"));
  add("parked", ShowSentence(failure.parked_reason));
  if (detail == LetterDetail::kSummary) return text;
  add("key", failure.letter.key ? ShowBytes(*failure.letter.key) : "null");
  for (const OwnedHeader& header : failure.letter.headers) {
    if (IsOurs(header)) continue;
    add("header", absl::StrCat(ShowBytes(header.name), " = ",
                               header.value ? ShowBytes(*header.value) : "null"));
  }
  add("payload", ShowValue(failure.letter.value, detail));
  return text;
}

}  // namespace once::cli
