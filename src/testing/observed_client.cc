// One client, numbered.
#include "src/testing/observed_client.h"

#include <map>
#include <utility>

namespace once::testing {
namespace {

class ObservedClient final : public RecordClient {
 public:
  ObservedClient(std::unique_ptr<RecordClient> inner, ProducingInvariants& invariants,
                 std::shared_ptr<Process> process, bool is_relay)
      : inner_(std::move(inner)),
        invariants_(invariants),
        process_(std::move(process)),
        number_(invariants.NewClient()),
        is_relay_(is_relay) {}
  ~ObservedClient() override { invariants_.OnClientEnd(number_); }

  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override {
    return inner_->CountPartitions(topic, deadline);
  }

  absl::Status TrySend(const OutgoingRecord& record) override {
    const std::optional<std::size_t> send = NumberInHeader(record.message, kSendHeader);
    const bool is_mark = !send.has_value() && MarkedTopic(record.message.topic).has_value();
    if (is_mark || process_->is_dead()) return inner_->TrySend(record);
    invariants_.OnOffered(number_, is_relay_, record);
    absl::Status taken = inner_->TrySend(record);
    if (!send.has_value()) return taken;
    if (!taken.ok()) {
      invariants_.OnRefused(*send, taken);
      return taken;
    }
    invariants_.OnTaken(number_, is_relay_, record);
    inside_[record.cookie] = *send;
    return taken;
  }

  void Poll(absl::Time deadline, const Listener& listener) override {
    inner_->Poll(deadline, [&](std::span<const RecordReport> reports) {
      for (const RecordReport& report : reports) {
        const auto send = inside_.find(report.cookie);
        if (send == inside_.end()) continue;
        invariants_.OnReport(number_, send->second, report.status);
        inside_.erase(send);
      }
      listener(reports);
    });
  }
  void Wake() override { inner_->Wake(); }
  void Purge() override { inner_->Purge(); }
  std::size_t CountInside() const override { return inner_->CountInside(); }
  absl::Status status() const override { return inner_->status(); }

 private:
  const std::unique_ptr<RecordClient> inner_;
  ProducingInvariants& invariants_;
  const std::shared_ptr<Process> process_;
  const int number_;
  const bool is_relay_;
  std::map<void*, std::size_t> inside_;  // by cookie
};

}  // namespace

RecordClientFactory ObservedClients(RecordClientFactory inner, ProducingInvariants& invariants,
                                    std::shared_ptr<Process> process) {
  return [inner = std::move(inner), &invariants, process = std::move(process)](
             const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    absl::StatusOr<std::unique_ptr<RecordClient>> client = inner(contract);
    if (!client.ok()) return client.status();
    return std::make_unique<ObservedClient>(*std::move(client), invariants, process,
                                            contract.has_no_gaps);
  };
}

}  // namespace once::testing
