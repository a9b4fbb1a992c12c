// A Client owns one librdkafka handle, what its callbacks need, and the way its log lines go. It is
// shared by the source or publisher and by everything that points into its buffers: the handle is
// destroyed by whoever is last, after all of them.
// Thread-safety: safe for concurrent use, as the handle is; callbacks are the owner's business.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/settings.h"
#include "once/log.h"

namespace once::kafka {

// What a client calls, on the thread that polls it. The defaults do nothing.
class ClientListener {
 public:
  virtual ~ClientListener() = default;
  virtual void OnRebalance(rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* partitions);
  virtual void OnError(rd_kafka_resp_err_t error, std::string_view text);
  virtual void OnCommitted(rd_kafka_resp_err_t error,
                           const rd_kafka_topic_partition_list_t* offsets);
  virtual void OnDelivered(const rd_kafka_message_t& message);
};

class Client {
 public:
  // Takes the configuration out of `settings`, whose status must be OK. kInvalidArgument when
  // librdkafka refuses the combination.
  static absl::StatusOr<std::shared_ptr<Client>> Create(rd_kafka_type_t type, Settings& settings,
                                                        std::shared_ptr<LogSink> log);
  // The same for a producer whose delivery reports are taken from its queue as events.
  static absl::StatusOr<std::shared_ptr<Client>> CreateWithReportEvents(
      Settings& settings, std::shared_ptr<LogSink> log);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  rd_kafka_t* handle() const { return handle_; }

  // Nullptr, the beginning: callbacks do nothing. REQUIRES: nobody polls meanwhile.
  void set_listener(ClientListener* listener) { listener_ = listener; }

  // Neither the handle nor what its threads refer to is ever destroyed: for a client whose
  // destruction would wait for ever, or abort the process.
  static void Abandon(const std::shared_ptr<Client>& client);

  // kFailedPrecondition, with the client's words, once a fatal error has been raised.
  absl::Status FatalStatus() const;

  void Log(LogLevel level, std::string_view action, std::string_view text) const;

 private:
  explicit Client(std::shared_ptr<LogSink> log, std::vector<std::string> secrets);

  static absl::StatusOr<std::shared_ptr<Client>> Open(rd_kafka_type_t type, Settings& settings,
                                                      Owned<rd_kafka_conf_t> conf,
                                                      std::shared_ptr<LogSink> log);

  static void SetCallbacks(rd_kafka_conf_t* conf, rd_kafka_type_t type);
  static Client& Of(void* opaque) { return *static_cast<Client*>(opaque); }

  std::shared_ptr<LogSink> log_;
  std::vector<std::string> secrets_;
  ClientListener* listener_ = nullptr;
  rd_kafka_t* handle_ = nullptr;
};

}  // namespace once::kafka
