// A client in front of the real one that keeps some records from it.
#include "tests/campaign/forgetful_clients.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace once::campaign {
namespace {

class ForgetfulClient final : public RecordClient {
 public:
  ForgetfulClient(std::unique_ptr<RecordClient> inner, std::shared_ptr<std::atomic<int>> records)
      : inner_(std::move(inner)), records_(std::move(records)) {}

  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override {
    return inner_->CountPartitions(topic, deadline);
  }
  absl::Status TrySend(const OutgoingRecord& record) override {
    if (record.stamp.empty() || ++*records_ % kForgottenOneIn != 0) return inner_->TrySend(record);
    {
      const std::lock_guard lock(mutex_);
      forgotten_.push_back({.cookie = record.cookie});
    }
    inner_->Wake();
    return absl::OkStatus();
  }
  void Poll(absl::Time deadline, const Listener& listener) override {
    std::vector<RecordReport> reports;
    {
      const std::lock_guard lock(mutex_);
      reports.swap(forgotten_);
    }
    if (!reports.empty()) return listener(reports);
    inner_->Poll(deadline, listener);
  }
  void Wake() override { inner_->Wake(); }
  void Purge() override { inner_->Purge(); }
  std::size_t CountInside() const override {
    const std::lock_guard lock(mutex_);
    return inner_->CountInside() + forgotten_.size();
  }
  absl::Status status() const override { return inner_->status(); }

 private:
  const std::unique_ptr<RecordClient> inner_;
  const std::shared_ptr<std::atomic<int>> records_;
  mutable std::mutex mutex_;
  std::vector<RecordReport> forgotten_;
};

}  // namespace

RecordClientFactory ForgetfulClients(RecordClientFactory inner) {
  auto records = std::make_shared<std::atomic<int>>(0);
  return [inner = std::move(inner), records](
             const RecordClientOptions& options) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    absl::StatusOr<std::unique_ptr<RecordClient>> client = inner(options);
    if (!client.ok()) return client.status();
    return std::make_unique<ForgetfulClient>(*std::move(client), records);
  };
}

}  // namespace once::campaign
