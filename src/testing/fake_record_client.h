// FakeRecordClient: one client of one simulated process.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "once/testing/fake_record_client.h"

namespace once::testing {

class FakeRecordClient final : public RecordClient {
 public:
  FakeRecordClient(FakeTopics& topics, std::shared_ptr<Process> process,
                   FakeRecordClientOptions options, RecordClientOptions contract)
      : topics_(topics),
        process_(std::move(process)),
        options_(options),
        contract_(contract),
        changed_(process_->scheduler()) {
    if (options_.lands_late) ListenForDeath();
  }
  ~FakeRecordClient() override { *self_ = nullptr; }

  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override;
  absl::Status TrySend(const OutgoingRecord& record) override;
  void Poll(absl::Time deadline, const Listener& listener) override;
  void Wake() override;
  void Purge() override;
  std::size_t CountInside() const override;
  absl::Status status() const override;

 private:
  struct Inside {
    OutgoingMessage message;  // without its value
    std::optional<std::string_view> lent_value;
    std::optional<std::string> copied_value;
    bool is_copied = false;
    bool is_stamped = false;
    void* cookie = nullptr;
    absl::Time expires;

    std::optional<std::string_view> value() const { return is_copied ? copied_value : lent_value; }
  };

  bool is_broken() const { return !broken_.ok(); }
  Oracle& oracle() { return process_->scheduler().oracle(); }
  // True with a fault of the budget.
  bool Strikes(std::string_view what);
  absl::Time NextExpiry() const;
  void Expire();
  bool RefuseTogether();
  void DeliverSome();
  void DeliverFirst();
  // False: no broker will ever take it.
  bool HasPlace(const Inside& record) const;
  RecordReport Judge(const Inside& record, Fault fault);
  std::int64_t Store(const Inside& record);
  void ListenForDeath();
  // The process is killed: what is on its way arrives later, or never.
  void Scatter();
  void LandAfter(const Inside& record, absl::Duration delay);
  // Tells it in the Poll() that runs, or in the next one.
  void Report(const Inside& record, RecordReport report);
  // In partitions that have ended nothing more is stored.
  using Partitions = std::set<std::pair<std::string, std::int32_t>>;
  void Break(std::string_view why, Partitions ended = {});
  // Every record inside gets its report.
  void GiveUp(const absl::Status& not_stored, Partitions ended = {});

  FakeTopics& topics_;
  std::shared_ptr<Process> process_;
  const FakeRecordClientOptions options_;
  const RecordClientOptions contract_;
  std::deque<Inside> queue_;
  // Not yet told.
  std::vector<RecordReport> reports_;
  std::deque<OutgoingMessage> returned_;
  bool is_delivering_ = false;  // one record is at the gate
  bool is_woken_ = false;
  absl::Status broken_;
  std::set<std::string> known_topics_;
  Condition changed_;
  // For whoever hears of the death of a process that has outlived its client.
  const std::shared_ptr<FakeRecordClient*> self_ = std::make_shared<FakeRecordClient*>(this);
};

}  // namespace once::testing
