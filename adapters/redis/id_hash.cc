// First each field by itself, then all of them together. See kHead in scripts.cc.
#include "adapters/redis/id_hash.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/values.h"
#include "once/abseil.h"
#include "once/claims.h"
#include "once/transaction.h"

namespace once::redis {
namespace {

bool IsNumber(std::string_view text, std::int64_t least, std::int64_t most) {
  std::int64_t number = 0;
  return absl::SimpleAtoi(ToAbsl(text), &number) && number >= least && number <= most &&
         text == absl::StrCat(number);
}

bool IsState(std::string_view text) {
  return IsNumber(text, 1, static_cast<int>(IdState::kDying)) &&
         text != absl::StrCat(static_cast<int>(IdState::kClaimed));
}

bool IsAttempt(std::string_view text) {
  return IsNumber(text, std::numeric_limits<int>::min(), std::numeric_limits<int>::max());
}

bool IsTime(std::string_view text) {
  return IsNumber(text, std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max());
}

bool IsFence(std::string_view text) {
  const std::size_t colon = text.find(':');
  Fence fence;
  return colon != std::string_view::npos &&
         absl::SimpleAtoi(ToAbsl(text.substr(0, colon)), &fence.incarnation) &&
         absl::SimpleAtoi(ToAbsl(text.substr(colon + 1)), &fence.counter) && text == Text(fence);
}

bool IsFingerprint(std::string_view text) { return FingerprintOf(text).is_set(); }
bool IsMark(std::string_view text) { return text == "1"; }
bool IsDisposition(std::string_view text) {
  return IsNumber(text, 0, static_cast<int>(Disposition::kManual));
}
bool IsResultLength(std::string_view text) { return IsNumber(text, 1, kClaimResultBytesMax); }

struct Field {
  std::string_view name;
  std::string_view meaning;
  bool (*is_fine)(std::string_view value);
};

constexpr std::array kFields = {
    Field{"s", "state", IsState},
    Field{"a", "attempt", IsAttempt},
    Field{"p", "fingerprint", IsFingerprint},
    Field{"ff", "first failure", IsTime},
    Field{"nb", "not before", IsTime},
    Field{"f", "fence", IsFence},
    Field{"le", "end of the lease", IsTime},
    Field{"b", "begun", IsMark},
    Field{"m", "may have run", IsMark},
    Field{"d", "disposition", IsDisposition},
    Field{"cp", "fingerprint of the claim", IsFingerprint},
    Field{"r", "length of the result", IsResultLength},
};

std::string FindStrangeField(const IdHash& hash) {
  for (const auto& [name, value] : hash.fields) {
    // clang 14 lets no closure take hold of a structured binding.
    const auto is_it = [&wanted = name](const Field& each) { return each.name == wanted; };
    const auto* const field = std::find_if(kFields.begin(), kFields.end(), is_it);
    if (field == kFields.end()) {
      return absl::StrCat("a field ", Quoted(name), ", which the store does not have");
    }
    if (!field->is_fine(value)) {
      return absl::StrCat("its ", ToAbsl(field->meaning), " (", name, ") is ", Quoted(value));
    }
  }
  return "";
}

}  // namespace

std::string FindContradiction(const IdHash& hash) {
  if (std::string strange = FindStrangeField(hash); !strange.empty()) return strange;
  const auto has = [&](const char* name) { return hash.fields.contains(name); };
  int number = 0;
  if (has("s") && !absl::SimpleAtoi(hash.fields.at("s"), &number)) return "its state is no number";
  const auto state = static_cast<IdState>(number);
  const bool is_completed = state == IdState::kCompleted;
  const bool is_settled = is_completed || state == IdState::kDead || state == IdState::kDiscarded ||
                          state == IdState::kUncertain;
  const bool has_claim = has("f") || has("le") || has("b") || has("m") || has("d") || has("cp");
  const bool may_expire = is_completed || state == IdState::kDiscarded;
  const std::string named = absl::StrCat("it is ", ToAbsl(ToString(state)), " and ");
  if (is_settled && has_claim) return named + "somebody still claims it";
  if (state == IdState::kAbsent && !has("f")) return "it has no state, and nobody claims it";
  if (has("f") != has("le")) return "of a fence and the end of its lease it has only one";
  if (has("d") != (state == IdState::kDying)) return named + "its disposition says otherwise";
  if (has("b") && !has("f") && !has("d")) return "it is begun by nobody";
  if (has("m") && state != IdState::kRetrying && state != IdState::kDying) {
    return named + "may have run";
  }
  if (has("cp") && !has("f") && !has("m") && !has("d")) return "a claim's fingerprint without one";
  if (has("nb") && state != IdState::kRetrying) return named + "waits for its next attempt";
  if (has("r") && !is_completed) return named + "has a result";
  if (hash.is_expiring && !may_expire) return named + "will be forgotten (it has a time to live)";
  return "";
}

}  // namespace once::redis
