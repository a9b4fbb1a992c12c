// Calls into the client, and its reports.
#include "adapters/kafka/transaction_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/produce.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kServeTime = absl::Milliseconds(50);
constexpr absl::Duration kDropTime = absl::Seconds(1);

int Milliseconds(absl::Duration wait) {
  const auto whole = absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<std::int64_t>(whole, 0, 24 * 60 * 60 * 1000));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TransactionClient>> TransactionClient::Open(
    const TransactionalProducerOptions& options) {
  Settings settings;
  // With the default of 100 ms every transaction would wait so long for its first partition.
  settings.Set("retry.backoff.ms", "10");
  ApplyProducerSettings({.brokers = options.brokers,
                         .linger = options.linger,
                         .delivery_timeout = options.times.transaction_timeout,
                         .properties = options.properties},
                        settings);
  settings.Set("transactional.id", options.transactional_id);
  // With more, a refused first batch of a partition can be taken for stored (DeliveryStatus), and
  // the client asks for its commit before anybody can look at the reports.
  settings.Set("max.in.flight.requests.per.connection", "1");
  // Later than we give it up ourselves: whom the brokers end is fenced.
  settings.Set("transaction.timeout.ms",
               options.times.transaction_timeout + options.times.abort_timeout + kBrokersPatience);
  settings.Set("queue.buffering.max.messages", absl::StrCat(options.limits.queue_messages_max));
  settings.Set("queue.buffering.max.kbytes", absl::StrCat(options.limits.queue_bytes_max / 1024));
  if (!settings.status().ok()) return settings.status();
  auto client = Client::Create(RD_KAFKA_PRODUCER, settings, options.log);
  if (!client.ok()) return client.status();
  return std::unique_ptr<TransactionClient>(new TransactionClient(*std::move(client)));
}

TransactionClient::TransactionClient(std::shared_ptr<Client> client) : client_(std::move(client)) {
  client_->set_listener(this);
}

TransactionClient::~TransactionClient() {
  // Every message that is still inside has a ticket, which its report gives back.
  rd_kafka_t* const handle = client_->handle();
  rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  const absl::Time deadline = absl::Now() + kDropTime;
  while (rd_kafka_outq_len(handle) > 0 && absl::Now() < deadline) rd_kafka_poll(handle, 10);
  client_->set_listener(nullptr);
}

std::optional<TransactionError> TransactionClient::Repeat(
    absl::Time deadline, absl::FunctionRef<rd_kafka_error_t*(int timeout_ms)> call) {
  while (true) {
    std::optional<TransactionError> error =
        TakeError(call(std::max(1, Milliseconds(deadline - absl::Now()))));
    if (error) ++troubles_;
    if (!error || !IsWorthRepeating(*error) || absl::Now() >= deadline) return error;
    rd_kafka_poll(client_->handle(), Milliseconds(std::min(kServeTime, deadline - absl::Now())));
  }
}

std::optional<TransactionError> TransactionClient::Init(absl::Time deadline) {
  return Repeat(deadline, [this](int timeout_ms) {
    return rd_kafka_init_transactions(client_->handle(), timeout_ms);
  });
}

std::optional<TransactionError> TransactionClient::Begin() {
  book_ = std::make_shared<TransactionBook>();
  return TakeError(rd_kafka_begin_transaction(client_->handle()));
}

std::optional<TransactionError> TransactionClient::Commit(absl::Time deadline) {
  Serve();
  troubles_ = 0;
  const std::optional<TransactionError> error = Repeat(deadline, [this](int timeout_ms) {
    return rd_kafka_commit_transaction(client_->handle(), timeout_ms);
  });
  Serve();
  return error;
}

std::optional<TransactionError> TransactionClient::Abort(absl::Time deadline) {
  return Repeat(deadline, [this](int timeout_ms) {
    return rd_kafka_abort_transaction(client_->handle(), timeout_ms);
  });
}

absl::Status TransactionClient::Send(const OutgoingMessage& message, const std::string& id,
                                     absl::Time deadline) {
  auto ticket = std::make_unique<Ticket>(Ticket{.book = book_, .id = id});
  while (true) {
    // Copied: the transaction keeps its messages until its commit.
    const rd_kafka_resp_err_t error =
        Produce(client_->handle(), {.message = message,
                                    .partition = message.partition.value_or(RD_KAFKA_PARTITION_UA),
                                    .opaque = ticket.get()});
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      static_cast<void>(ticket.release());
      ++book_->sent;
      book_->bytes += SizeBytes(message);
      return absl::OkStatus();
    }
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      return DeliveryStatus(error, RD_KAFKA_MSG_STATUS_NOT_PERSISTED, message.topic);
    }
    if (absl::Now() >= deadline) {
      return absl::ResourceExhaustedError(
          absl::StrCat("kafka: publishing to ", message.topic,
                       ": the client's queue was full for .times.send_timeout"));
    }
    rd_kafka_poll(client_->handle(), Milliseconds(std::min(kServeTime, deadline - absl::Now())));
  }
}

void TransactionClient::Serve() { rd_kafka_poll(client_->handle(), 0); }

void TransactionClient::OnDelivered(const rd_kafka_message_t& message) {
  const std::unique_ptr<Ticket> ticket(static_cast<Ticket*>(message._private));
  TransactionBook& book = *ticket->book;
  const std::string topic = rd_kafka_topic_name(message.rkt);
  const absl::Status delivered = DeliveryStatus(message);
  if (delivered.ok()) {
    ++book.delivered;
    if (!book.witness) book.witness = {topic, message.partition, message.offset, ticket->id};
    return;
  }
  // What an abort purges has not failed: nobody wants it any more.
  if (message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
      message.err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) {
    return;
  }
  ++book.failed;
  if (book.failures.size() >= kFailedSendsListedMax) return;
  book.failures.push_back({ticket->id, topic, delivered});
}

void TransactionClient::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  ++troubles_;
  client_->Log(LogLevel::kWarning, "client_error",
               absl::StrCat(rd_kafka_err2name(error), ": ", ToAbsl(text)));
}

rd_kafka_resp_err_t TransactionClient::fatal_code() const {
  return rd_kafka_fatal_error(client_->handle(), nullptr, 0);
}

}  // namespace once::kafka
