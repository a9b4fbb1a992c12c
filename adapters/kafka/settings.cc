// Checks and applies configuration values, one name at a time, so that an error can name it.
#include "adapters/kafka/settings.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr std::array<absl::string_view, 7> kSecretNameParts = {
    "password", "secret", ".pem", "token", "jaas", "oauthbearer.config", "credential"};

bool IsSecretName(std::string_view name) {
  return std::any_of(kSecretNameParts.begin(), kSecretNameParts.end(),
                     [&](absl::string_view part) { return absl::StrContains(ToAbsl(name), part); });
}

}  // namespace

Settings::Settings() : conf_(rd_kafka_conf_new()) {}

void Settings::Set(std::string_view name, std::string_view value) {
  if (!status_.ok()) return;
  std::array<char, 512> reason{};
  const std::string name_text(name);
  const std::string value_text(value);
  const rd_kafka_conf_res_t result = rd_kafka_conf_set(
      conf_.get(), name_text.c_str(), value_text.c_str(), reason.data(), reason.size());
  if (result == RD_KAFKA_CONF_OK) return;
  if (result == RD_KAFKA_CONF_UNKNOWN) {
    status_ = absl::InvalidArgumentError(absl::StrCat("kafka: librdkafka ", rd_kafka_version_str(),
                                                      " has no property \"", name_text, "\""));
    return;
  }
  status_ = absl::InvalidArgumentError(
      absl::StrCat("kafka: property \"", name_text, "\": ",
                   IsSecretName(name) ? "the value (a secret, not shown) is not accepted"
                                      : Scrub(reason.data())));
}

void Settings::Set(std::string_view name, absl::Duration value) {
  Set(name, absl::StrCat(absl::ToInt64Milliseconds(value)));
}

void Settings::SetIfKnown(std::string_view name, std::string_view value) {
  if (!status_.ok()) return;
  Set(name, value);
  status_ = absl::OkStatus();
}

void Settings::SetProperties(const Properties& properties, std::span<const FixedProperty> fixed) {
  for (const auto& [name, value] : properties) {
    if (IsSecretName(name) && !value.empty()) secrets_.push_back(value);
  }
  // Longer ones first: a secret may contain another.
  std::sort(
      secrets_.begin(), secrets_.end(),
      [](const std::string& left, const std::string& right) { return left.size() > right.size(); });
  for (const auto& [name, value] : properties) {
    if (!status_.ok()) return;
    const auto found = std::find_if(fixed.begin(), fixed.end(), [&name = name](const auto& entry) {
      return entry.name == name;
    });
    if (found != fixed.end()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("kafka: property \"", name, "\" cannot be set: ", ToAbsl(found->instead)));
      return;
    }
    Set(name, value);
  }
}

std::string Settings::Scrub(std::string_view text) const { return kafka::Scrub(text, secrets_); }

std::string Scrub(std::string_view text, std::span<const std::string> secrets) {
  std::string clean(text);
  for (const std::string& secret : secrets) {
    absl::StrReplaceAll({{secret, "***"}}, &clean);
  }
  return clean;
}

absl::Status RequireText(std::string_view field, std::string_view value) {
  if (!value.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kafka: .", ToAbsl(field), " is empty"));
}

absl::Status RequireDuration(std::string_view field, absl::Duration value) {
  if (value >= absl::Milliseconds(1) && value <= absl::Hours(24)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kafka: .", ToAbsl(field), " is ",
                                                 absl::FormatDuration(value),
                                                 "; it must be between 1ms and 24h"));
}

}  // namespace once::kafka
