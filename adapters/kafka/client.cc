// The handle's life and its callbacks.
#include "adapters/kafka/client.h"

#include <array>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

// Syslog levels, as librdkafka has them.
LogLevel LevelOf(int syslog) {
  if (syslog <= 3) return LogLevel::kError;
  if (syslog == 4) return LogLevel::kWarning;
  return syslog <= 6 ? LogLevel::kInfo : LogLevel::kDebug;
}

}  // namespace

void ClientListener::OnRebalance(rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t*) {}
void ClientListener::OnError(rd_kafka_resp_err_t, std::string_view) {}
void ClientListener::OnCommitted(rd_kafka_resp_err_t, const rd_kafka_topic_partition_list_t*) {}
void ClientListener::OnDelivered(const rd_kafka_message_t&) {}

Client::Client(std::shared_ptr<LogSink> log, std::vector<std::string> secrets)
    : log_(std::move(log)), secrets_(std::move(secrets)) {}

Client::~Client() {
  if (handle_ == nullptr) return;
  // Without the consumer's own close, which may wait for ever; the source has done that.
  rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void Client::SetCallbacks(rd_kafka_conf_t* conf, rd_kafka_type_t type) {
  rd_kafka_conf_set_log_cb(
      conf, +[](const rd_kafka_t* handle, int level, const char* facility, const char* text) {
        // Called from the client's own threads, also before rd_kafka_new has returned.
        Of(rd_kafka_opaque(handle))
            .Log(LevelOf(level), "client", absl::StrCat(facility, ": ", text));
      });
  rd_kafka_conf_set_error_cb(
      conf, +[](rd_kafka_t*, int error, const char* text, void* opaque) {
        Client& client = Of(opaque);
        if (client.listener_ == nullptr) return;
        client.listener_->OnError(static_cast<rd_kafka_resp_err_t>(error), text);
      });
  if (type == RD_KAFKA_PRODUCER) {
    rd_kafka_conf_set_dr_msg_cb(
        conf, +[](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
          Client& client = Of(opaque);
          if (client.listener_ != nullptr) client.listener_->OnDelivered(*message);
        });
    return;
  }
  rd_kafka_conf_set_rebalance_cb(
      conf, +[](rd_kafka_t* handle, rd_kafka_resp_err_t error,
                rd_kafka_topic_partition_list_t* partitions, void* opaque) {
        Client& client = Of(opaque);
        if (client.listener_ == nullptr) {
          rd_kafka_assign(handle, nullptr);
          return;
        }
        client.listener_->OnRebalance(error, partitions);
      });
  rd_kafka_conf_set_offset_commit_cb(
      conf, +[](rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* offsets,
                void* opaque) {
        Client& client = Of(opaque);
        if (client.listener_ != nullptr) client.listener_->OnCommitted(error, offsets);
      });
}

absl::StatusOr<std::shared_ptr<Client>> Client::Create(rd_kafka_type_t type, Settings& settings,
                                                       std::shared_ptr<LogSink> log) {
  return Open(type, settings, settings.TakeConf(), std::move(log));
}

absl::StatusOr<std::shared_ptr<Client>> Client::CreateWithReportEvents(
    Settings& settings, std::shared_ptr<LogSink> log) {
  Owned<rd_kafka_conf_t> conf = settings.TakeConf();
  rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_DR);
  // Refreshes of tokens would come as events too, and are better served by the client itself.
  std::array<char, 64> mechanism{};
  std::size_t size = mechanism.size();
  rd_kafka_conf_get(conf.get(), "sasl.mechanism", mechanism.data(), &size);
  const bool has_tokens = std::string_view(mechanism.data()) == "OAUTHBEARER";
  if (has_tokens) rd_kafka_conf_enable_sasl_queue(conf.get(), 1);
  auto client = Open(RD_KAFKA_PRODUCER, settings, std::move(conf), std::move(log));
  if (!client.ok() || !has_tokens) return client;
  const Owned<rd_kafka_error_t> error(
      rd_kafka_sasl_background_callbacks_enable((*client)->handle()));
  if (error == nullptr) return client;
  return absl::InvalidArgumentError(
      absl::StrCat("kafka: refreshing tokens: ", rd_kafka_error_string(error.get())));
}

absl::StatusOr<std::shared_ptr<Client>> Client::Open(rd_kafka_type_t type, Settings& settings,
                                                     Owned<rd_kafka_conf_t> conf,
                                                     std::shared_ptr<LogSink> log) {
  std::shared_ptr<Client> client(new Client(std::move(log), settings.secrets()));
  rd_kafka_conf_set_opaque(conf.get(), client.get());
  SetCallbacks(conf.get(), type);
  std::array<char, 512> reason{};
  client->handle_ = rd_kafka_new(type, conf.get(), reason.data(), reason.size());
  if (client->handle_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("kafka: the client refuses its configuration: ",
                                                   Scrub(reason.data(), client->secrets_)));
  }
  static_cast<void>(conf.release());  // the handle's now
  return client;
}

void Client::Abandon(const std::shared_ptr<Client>& client) {
  static std::mutex mutex;
  static auto& abandoned = *new std::vector<std::shared_ptr<Client>>();
  const std::lock_guard<std::mutex> lock(mutex);
  abandoned.push_back(client);
}

absl::Status Client::FatalStatus() const {
  std::array<char, 512> reason{};
  const rd_kafka_resp_err_t error = rd_kafka_fatal_error(handle_, reason.data(), reason.size());
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("kafka: fatal client error ",
                                                    rd_kafka_err2name(error), ": ",
                                                    Scrub(reason.data(), secrets_)));
}

void Client::Log(LogLevel level, std::string_view action, std::string_view text) const {
  if (log_ == nullptr || level < log_->level()) return;
  log_->Log({.level = level,
             .time = absl::Now(),
             .action = action,
             .message = Scrub(text, secrets_),
             .fields = {}});
}

}  // namespace once::kafka
