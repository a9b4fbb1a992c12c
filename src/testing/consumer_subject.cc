// The real engine as the subject of a simulation.
#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/consumer.h"
#include "once/testing/simulation.h"

namespace once::testing {
namespace {

class ConsumerSubject : public Subject {
 public:
  explicit ConsumerSubject(std::unique_ptr<Consumer> consumer) : consumer_(std::move(consumer)) {}

  absl::StatusOr<bool> Step() override { return consumer_->Step(); }
  absl::Status Run(std::stop_token stop) override { return consumer_->Run(std::move(stop)); }
  absl::Status Stop() override { return consumer_->Stop(); }
  std::optional<ConsumerStats> stats() const override { return consumer_->stats(); }
  bool IsStopped(int partition) const override {
    const std::vector<StoppedPartition> stopped = consumer_->stopped_partitions();
    return std::any_of(stopped.begin(), stopped.end(), [partition](const StoppedPartition& one) {
      return one.partition.partition == partition;
    });
  }
  std::string Complaint() const override {
    std::string text;
    for (const StoppedPartition& stopped : consumer_->stopped_partitions()) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", "partition ", stopped.partition.partition,
                      " is stopped: ", stopped.reason.ToString());
    }
    return text;
  }

 private:
  std::unique_ptr<Consumer> consumer_;
};

// The handler of one message for all messages of a span; one that throws ends the call.
BatchHandlerFunction ForBatches(TransactionalHandlerFunction handler) {
  return [handler = std::move(handler)](std::span<const Message* const> messages,
                                        Transaction& transaction) -> BatchOutcome {
    std::vector<Outcome> outcomes;
    for (const Message* message : messages) outcomes.push_back(handler(*message, transaction));
    return outcomes;
  };
}

}  // namespace

absl::StatusOr<std::unique_ptr<Subject>> MakeConsumer(SubjectParts parts) {
  const bool is_by_sequence = parts.scenario.goes_by_numbers && parts.process->number() % 2 != 0;
  // Every default that costs something is overridden: SystemRandom() would ask the system for
  // entropy once per process, most of the time of an execution.
  ConsumerOptions options{.source = std::move(parts.source),
                          .store = std::move(parts.store),
                          .id = HeaderId("id"),
                          .retry = parts.scenario.retry,
                          .dead_letters = {.publisher = std::move(parts.dead_letters)},
                          .out_of_range = parts.scenario.out_of_range,
                          .foreign_store = parts.scenario.foreign_store,
                          .claims = parts.scenario.claims,
                          .limits = parts.scenario.limits,
                          .times = parts.scenario.times,
                          .log = std::move(parts.log),
                          .executor = std::move(parts.process),
                          .random = std::move(parts.random)};
  options.dedup = is_by_sequence ? DedupBy::kSequence : DedupBy::kId;
  options.claims.reconcile = std::move(parts.reconcile);
  options.loss = std::move(parts.loss);
  absl::StatusOr<std::unique_ptr<Consumer>> consumer;
  if (parts.scenario.handler == HandlerKind::kPlain) {
    consumer = Consumer::Create(std::move(options), std::move(parts.plain_handler));
  } else if (parts.scenario.has_batch_handler) {
    consumer = Consumer::Create(std::move(options), ForBatches(std::move(parts.handler)));
  } else {
    consumer = Consumer::Create(std::move(options), std::move(parts.handler));
  }
  if (!consumer.ok()) return consumer.status();
  return std::make_unique<ConsumerSubject>(*std::move(consumer));
}

}  // namespace once::testing
