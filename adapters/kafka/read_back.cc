// Two readers of one offset: with isolation, and without.
#include "adapters/kafka/read_back.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kPollTime = absl::Milliseconds(100);

enum class Sight : std::uint8_t { kSeen, kPassed, kBefore, kUnclear };

// Says why the end stays unknown.
Sight Unclear(const ReadBackRequest& request, std::string_view why) {
  if (request.log == nullptr || LogLevel::kWarning < request.log->level()) return Sight::kUnclear;
  const std::string text = absl::StrCat(request.witness.id, " in ", request.witness.topic, " [",
                                        request.witness.partition, "] at offset ",
                                        request.witness.offset, ": ", ToAbsl(why));
  request.log->Log({.level = LogLevel::kWarning,
                    .time = absl::Now(),
                    .action = "read_back_failed",
                    .message = text,
                    .fields = {}});
  return Sight::kUnclear;
}

std::shared_ptr<Client> OpenReader(const ReadBackRequest& request, std::string_view isolation) {
  Settings settings;
  settings.SetProperties(request.properties, {});
  settings.Set("bootstrap.servers", request.brokers);
  settings.Set("group.id", "once-read-back");  // which is never joined
  settings.Set("enable.auto.commit", "false");
  settings.Set("auto.offset.reset", "error");
  settings.Set("enable.partition.eof", "true");
  settings.Set("allow.auto.create.topics", "false");
  settings.Set("fetch.wait.max.ms", "50");
  settings.Set("isolation.level", isolation);
  if (!settings.status().ok()) {
    Unclear(request, ToStd(settings.status().message()));
    return nullptr;
  }
  auto client = Client::Create(RD_KAFKA_CONSUMER, settings, request.log);
  if (!client.ok()) {
    Unclear(request, ToStd(client.status().message()));
    return nullptr;
  }
  rd_kafka_poll_set_consumer((*client)->handle());
  return *std::move(client);
}

bool IsWitness(const rd_kafka_message_t& message, const ReadBackRequest& request) {
  if (message.offset != request.witness.offset) return false;
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  const void* value = nullptr;
  std::size_t size = 0;
  if (rd_kafka_header_get_last(headers, std::string(request.id_header).c_str(), &value, &size) !=
          RD_KAFKA_RESP_ERR_NO_ERROR ||
      value == nullptr) {
    return false;
  }
  return std::string_view(static_cast<const char*>(value), size) == request.witness.id;
}

// nullopt: poll on.
std::optional<Sight> Judge(const rd_kafka_message_t& message, const ReadBackRequest& request) {
  switch (message.err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      if (IsWitness(message, request)) return Sight::kSeen;
      // Another record at that offset: the topic is not the one that was written to.
      if (message.offset != request.witness.offset) return Sight::kPassed;
      return Unclear(request, "another record is there");
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      // The end of what is decided may still lie before it.
      if (message.offset > request.witness.offset) return Sight::kPassed;
      if (request.awaits_end) return std::nullopt;
      return Sight::kBefore;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      return Unclear(request, "the log does not reach so far, or not so far back");
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      // The client looks for a coordinator, which is of no use here.
      if (message.rkt == nullptr) return std::nullopt;
      return Unclear(request, rd_kafka_err2str(message.err));
    default:
      if (IsRefusal(message.err)) return Unclear(request, rd_kafka_err2str(message.err));
      return std::nullopt;  // trouble that may pass
  }
}

Sight LookAt(const ReadBackRequest& request, std::string_view isolation, absl::Time deadline) {
  const std::shared_ptr<Client> reader = OpenReader(request, isolation);
  if (reader == nullptr) return Sight::kUnclear;
  {
    const Owned<rd_kafka_topic_partition_list_t> list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), request.witness.topic.c_str(),
                                      request.witness.partition)
        ->offset = request.witness.offset;
    if (rd_kafka_assign(reader->handle(), list.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return Unclear(request, "the client does not take the partition");
    }
  }
  std::optional<Sight> sight;
  while (!sight && absl::Now() < deadline) {
    const absl::Duration wait = std::min(kPollTime, deadline - absl::Now());
    rd_kafka_message_t* message = rd_kafka_consumer_poll(
        reader->handle(),
        static_cast<int>(absl::ToInt64Milliseconds(std::max(wait, absl::ZeroDuration()))));
    if (message == nullptr) continue;
    sight = Judge(*message, request);
    rd_kafka_message_destroy(message);
  }
  rd_kafka_assign(reader->handle(), nullptr);
  return sight ? *sight : Unclear(request, "not decided in time");
}

}  // namespace

Visibility ReadBack(const ReadBackRequest& request, absl::Time deadline) {
  switch (LookAt(request, "read_committed", deadline)) {
    case Sight::kSeen:
      return Visibility::kVisible;
    case Sight::kBefore:
      return Visibility::kOpen;
    case Sight::kUnclear:
      return Visibility::kNotKnown;
    case Sight::kPassed:
      break;
  }
  return LookAt(request, "read_uncommitted", deadline) == Sight::kSeen ? Visibility::kInvisible
                                                                       : Visibility::kNotKnown;
}

}  // namespace once::kafka
