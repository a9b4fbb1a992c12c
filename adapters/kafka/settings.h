// Settings turns options into a librdkafka configuration: the values that this adapter fixes, then
// the user's properties, checked. It also knows the secrets among them and keeps them out of texts.
// Thread-safety: Scrub() is safe for concurrent use, the rest is not.
#pragma once

#include <librdkafka/rdkafka.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adapters/kafka/handles.h"
#include "once/kafka/properties.h"

namespace once::kafka {

// A librdkafka property that only the adapter may set.
struct FixedProperty {
  std::string_view name;
  std::string_view instead;  // the reason, or the field to use
};

class Settings {
 public:
  Settings();

  // Later calls after the first error do nothing; status() has that error.
  void Set(std::string_view name, std::string_view value);
  void Set(std::string_view name, absl::Duration value);  // in milliseconds
  // For names that only newer versions of librdkafka know.
  void SetIfKnown(std::string_view name, std::string_view value);
  // The user's own, `fixed` ones refused.
  void SetProperties(const Properties& properties, std::span<const FixedProperty> fixed);

  const absl::Status& status() const { return status_; }
  rd_kafka_conf_t* conf() { return conf_.get(); }
  Owned<rd_kafka_conf_t> TakeConf() { return std::move(conf_); }

  // `text` with the values of secrets replaced by "***".
  std::string Scrub(std::string_view text) const;
  const std::vector<std::string>& secrets() const { return secrets_; }

 private:
  Owned<rd_kafka_conf_t> conf_;
  std::vector<std::string> secrets_;
  absl::Status status_;
};

// `text` with each of `secrets` replaced by "***".
std::string Scrub(std::string_view text, std::span<const std::string> secrets);

// kInvalidArgument, naming the field, for an empty or absent value.
absl::Status RequireText(std::string_view field, std::string_view value);
// kInvalidArgument, naming the field, unless 1 ms <= value <= 24 h.
absl::Status RequireDuration(std::string_view field, absl::Duration value);

}  // namespace once::kafka
