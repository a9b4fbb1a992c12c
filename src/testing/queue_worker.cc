// The hand-written loop: Wrap around the handler of the scenario, and what follows each answer.
#include "once/testing/queue_worker.h"

#include <algorithm>
#include <utility>

#include "once/testing/simulation.h"

namespace once::testing {
namespace {

constexpr absl::Duration kWaitMin = absl::Milliseconds(100);
constexpr absl::Duration kWaitMax = absl::Seconds(1);

// The message as the handlers of a scenario know it: an order of partition 0.
Message ViewOf(const QueueMessage& message, const DeliveryContext& context) {
  Message view(
      {.topic = "orders", .offset = message.number, .value = std::string_view(message.value)});
  view.SetContext(context);
  return view;
}

DeliveryContext ContextOf(const Invocation& invocation) {
  return {.id = invocation.id,
          .scope = invocation.scope,
          .attempt = invocation.attempt,
          .maybe_repeated = invocation.maybe_repeated,
          .cancellation = &invocation.cancellation};
}

absl::StatusOr<Wrapped<QueueMessage>> WrapHandler(SubjectParts& parts) {
  const Scenario& scenario = parts.scenario;
  WrapOptions<QueueMessage> options{.store = parts.store,
                                    .scope = "orders",
                                    .id = [](const QueueMessage& message) { return message.id; },
                                    .fingerprint =
                                        [](const QueueMessage& message) {
                                          return Fingerprint::Of(std::string_view(message.value));
                                        },
                                    .retry = scenario.retry,
                                    .lease = scenario.claims.lease,
                                    .on_lost = scenario.claims.on_lost,
                                    .log = parts.log,
                                    .executor = parts.process,
                                    .random = parts.random};
  if (parts.reconcile) {
    options.reconcile = [reconcile = parts.reconcile](const QueueMessage& message) {
      return reconcile(ViewOf(message, {.id = message.id, .scope = NamedScope("orders")}));
    };
  }
  if (scenario.handler == HandlerKind::kPlain) {
    return Wrap<QueueMessage>(std::move(options),
                              [handler = std::move(parts.plain_handler)](
                                  const QueueMessage& message, const Invocation& invocation) {
                                return handler(ViewOf(message, ContextOf(invocation)));
                              });
  }
  return Wrap<QueueMessage>(
      std::move(options),
      [handler = std::move(parts.handler)](const QueueMessage& message, Transaction& transaction,
                                           const Invocation& invocation) {
        return handler(ViewOf(message, ContextOf(invocation)), transaction);
      });
}

class QueueWorker : public Subject {
 public:
  QueueWorker(const Scenario& scenario, std::shared_ptr<Process> process, FakeQueue& queue,
              Wrapped<QueueMessage> charge)
      : scenario_(scenario),
        process_(std::move(process)),
        channel_(queue.Open(process_)),
        call_([charge = std::move(charge)](const QueueMessage& message) {
          return charge(message);
        }) {}

  absl::StatusOr<bool> Step() override {
    const auto delivery = channel_->Get(process_->Now() + scenario_.times.poll_timeout);
    absl::Status status = delivery.status();
    if (status.ok() && !delivery->has_value()) return false;
    if (status.ok()) {
      const QueueTurn turn{*channel_, **delivery, call_, *process_};
      status = scenario_.settle_delivery ? scenario_.settle_delivery(turn) : SettleDelivery(turn);
    }
    if (!status.ok()) channel_->Reopen();
    return true;
  }

  absl::Status Run(std::stop_token stop) override {
    while (!stop.stop_requested() && !process_->is_dead()) Step().IgnoreError();
    return absl::OkStatus();
  }

  absl::Status Stop() override { return absl::OkStatus(); }

 private:
  const Scenario& scenario_;
  std::shared_ptr<Process> process_;
  std::unique_ptr<QueueChannel> channel_;
  std::function<absl::StatusOr<CallAnswer>(const QueueMessage&)> call_;
};

}  // namespace

absl::Status SettleDelivery(const QueueTurn& turn) {
  const absl::StatusOr<CallAnswer> answer = turn.call(turn.delivery.message);
  if (!answer.ok()) return RequeueAfter(turn, absl::ZeroDuration());
  if (!answer->is_settled()) return RequeueAfter(turn, answer->wait);
  return turn.channel.Ack(turn.delivery.tag);
}

absl::Status RequeueAfter(const QueueTurn& turn, absl::Duration wait) {
  wait = std::clamp(wait, kWaitMin, kWaitMax);
  turn.executor.NewEvent()->WaitUntil(turn.executor.Now() + wait);
  return turn.channel.Requeue(turn.delivery.tag);
}

absl::StatusOr<std::unique_ptr<Subject>> MakeQueueWorker(SubjectParts parts) {
  absl::StatusOr<Wrapped<QueueMessage>> charge = WrapHandler(parts);
  if (!charge.ok()) return charge.status();
  return std::make_unique<QueueWorker>(parts.scenario, parts.process, *parts.queue,
                                       *std::move(charge));
}

}  // namespace once::testing
