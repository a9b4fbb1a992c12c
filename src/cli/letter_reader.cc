// A consumer without a group, from the first offset on.
#include "src/cli/letter_reader.h"

#include <charconv>
#include <string_view>

#include "absl/cleanup/cleanup.h"

namespace once::demo {
namespace {

std::string_view HeaderText(const rd_kafka_headers_t* headers, const char* name) {
  const void* value = nullptr;
  std::size_t size = 0;
  if (headers == nullptr || rd_kafka_header_get_last(headers, name, &value, &size) != 0) return {};
  return {static_cast<const char*>(value), size};
}

ReadLetter ToLetter(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) headers = nullptr;
  const std::string_view attempt = HeaderText(headers, "once-attempt");
  ReadLetter letter{.value = {static_cast<const char*>(message.payload), message.len},
                    .disposition = HeaderText(headers, "once-disposition")};
  std::from_chars(attempt.data(), attempt.data() + attempt.size(), letter.attempt);
  return letter;
}

}  // namespace

absl::StatusOr<LetterReader> LetterReader::Open(const std::string& brokers,
                                                const std::string& topic, std::int32_t partitions) {
  absl::StatusOr<KafkaHandle> handle =
      OpenHandle(RD_KAFKA_CONSUMER, {{"bootstrap.servers", brokers},
                                     {"group.id", "once-demo-letter-reader"},
                                     {"enable.auto.commit", "false"},
                                     {"auto.offset.reset", "earliest"},
                                     {"fetch.wait.max.ms", "50"}});
  if (!handle.ok()) return handle.status();
  rd_kafka_poll_set_consumer(handle->get());
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
  const absl::Cleanup destroy = [&] { rd_kafka_topic_partition_list_destroy(list); };
  for (std::int32_t partition = 0; partition < partitions; ++partition) {
    rd_kafka_topic_partition_list_add(list, topic.c_str(), partition)->offset = 0;
  }
  const rd_kafka_resp_err_t error = rd_kafka_assign(handle->get(), list);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaError(error, "reading " + topic);
  return LetterReader(*std::move(handle), partitions);
}

void LetterReader::Read(int timeout_ms, int messages_max,
                        const std::function<void(const ReadLetter&)>& letter) {
  for (int i = 0; i < messages_max; ++i) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(handle_.get(), i == 0 ? timeout_ms : 0);
    if (message == nullptr) return;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      letter(ToLetter(*message));
      positions_[static_cast<std::size_t>(message->partition)] = message->offset + 1;
    }
    rd_kafka_message_destroy(message);
  }
}

}  // namespace once::demo
