// Opening of a Redis claim store: its options, where it lies, its claims, its operators.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/address.h"
#include "adapters/redis/claims.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/maintenance.h"
#include "adapters/redis/opening.h"
#include "adapters/redis/operations.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

class RedisStore final : public DedupStore {
 public:
  RedisStore(std::unique_ptr<Cluster> cluster, const StoreOptions& options)
      : cluster_(std::move(cluster)),
        retention_(options.retention),
        claims_(*cluster_, options),
        operations_(*cluster_, options),
        maintenance_(*cluster_, options) {}

  StoreTraits traits() const override {
    StoreTraits traits = cluster_->traits();
    if (retention_ == absl::InfiniteDuration()) return traits;
    traits.retention = retention_;
    if (!traits.weakness.empty()) traits.weakness.append("; ");
    absl::StrAppend(&traits.weakness, "ids are forgotten ", absl::FormatDuration(retention_),
                    " after they were settled (retention): a copy that comes later is handled");
    return traits;
  }
  ClaimStore* claims() override { return &claims_; }
  StoreOperations* operations() override { return &operations_; }
  StoreMaintenance* maintenance() override { return &maintenance_; }

 private:
  const std::unique_ptr<Cluster> cluster_;
  const absl::Duration retention_;
  ScriptedClaims claims_;
  RedisOperations operations_;
  RedisMaintenance maintenance_;
};

constexpr absl::Duration kCallTimeoutMin = absl::Milliseconds(10);
constexpr absl::Duration kCallTimeoutMax = absl::Minutes(1);
constexpr absl::Duration kRetentionMin = absl::Seconds(1);
constexpr absl::Duration kRetentionMax = absl::Hours(24 * 365 * 100);
constexpr int kConnectionsMax = 1000;
constexpr std::size_t kPrefixBytesMax = 200;

absl::Status Refuse(std::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("redis: ", std::string(reason)));
}

absl::Status CheckLimits(const StoreOptions& options) {
  if (options.call_timeout < kCallTimeoutMin || options.call_timeout > kCallTimeoutMax) {
    return Refuse("call_timeout must be from 10 ms to a minute");
  }
  if (options.connections_max < 1 || options.connections_max > kConnectionsMax) {
    return Refuse("connections_max must be from 1 to 1000");
  }
  const bool is_for_ever = options.retention == absl::InfiniteDuration();
  if (!is_for_ever && (options.retention < kRetentionMin || options.retention > kRetentionMax)) {
    return Refuse("retention must be from a second to a hundred years, or infinite");
  }
  if (options.inspection_interval < absl::ZeroDuration() ||
      options.inspection_interval > absl::Hours(1)) {
    return Refuse("inspection_interval must be from 0 to an hour");
  }
  // Braces would move the place that a cluster gives to a key.
  if (options.key_prefix.size() > kPrefixBytesMax ||
      options.key_prefix.find_first_of("{}") != std::string::npos) {
    return Refuse("key_prefix must have at most 200 bytes and no braces");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerAddress> CheckOptions(const StoreOptions& options) {
  if (absl::Status checked = CheckLimits(options); !checked.ok()) return checked;
  absl::StatusOr<ServerAddress> address = ParseUrl(options.url);
  if (!address.ok()) return address.status();
  if (!options.user.empty()) address->user = options.user;
  if (!options.password.empty()) address->password = options.password;
  const bool has_tls_files = !options.tls_ca_file.empty() ||
                             !options.tls_certificate_file.empty() || !options.tls_key_file.empty();
  if (has_tls_files && !address->is_tls) {
    return Refuse("tls_… names files, and the url is not rediss://: nothing would be encrypted");
  }
  return address;
}

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options) {
  absl::StatusOr<ServerAddress> address = CheckOptions(options);
  if (!address.ok()) return address.status();
  auto cluster = Cluster::Open(options, KeyNames(options.key_prefix), *std::move(address));
  if (!cluster.ok()) return cluster.status();
  return std::make_shared<RedisStore>(*std::move(cluster), options);
}

}  // namespace once::redis
