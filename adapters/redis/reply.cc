// RESP over hiredis' reader, with objects of our own.
#include "adapters/redis/reply.h"

#include <hiredis/read.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace once::redis {

// hiredis' way to build objects. It frees roots only; the rest live inside of them.
struct ReplyObjects {
  // Where the reply of `task` lies: on its own, or in the array that has room for it.
  static Reply* Place(const redisReadTask* task, Reply::Kind kind) {
    Reply* reply = nullptr;
    if (task->parent == nullptr) {
      reply = new Reply;
    } else {
      auto* const parent = static_cast<Reply*>(task->parent->obj);
      reply = &parent->elements[static_cast<std::size_t>(task->idx)];
    }
    reply->kind = kind;
    return reply;
  }

  static void* CreateText(const redisReadTask* task, char* text, std::size_t size) {
    const bool is_error = task->type == REDIS_REPLY_ERROR;
    Reply* const reply = Place(task, is_error ? Reply::Kind::kError : Reply::Kind::kText);
    reply->text.assign(text, size);
    return reply;
  }
  // Null, which hiredis takes for an error: an array's elements are made at once, and would be too
  // many.
  static void* CreateArray(const redisReadTask* task, int elements) {
    auto* const budget = static_cast<ReplyReader::Budget*>(task->privdata);
    const auto count = static_cast<std::size_t>(elements);
    if (elements < 0 || count > kReplyElementsMax - budget->elements) return nullptr;
    budget->elements += count;
    Reply* const reply = Place(task, Reply::Kind::kArray);
    reply->elements.resize(count);
    return reply;
  }
  static void* CreateInteger(const redisReadTask* task, long long value) {
    Reply* const reply = Place(task, Reply::Kind::kInteger);
    reply->integer = value;
    return reply;
  }
  static void* CreateNil(const redisReadTask* task) { return Place(task, Reply::Kind::kNil); }
  static void Free(void* reply) { delete static_cast<Reply*>(reply); }

  static redisReplyObjectFunctions* Functions() {
    static redisReplyObjectFunctions functions = {CreateText, CreateArray, CreateInteger, CreateNil,
                                                  Free};
    return &functions;
  }
};

std::string EncodeCommand(std::span<const std::string_view> words) {
  std::string bytes = absl::StrCat("*", words.size(), "\r\n");
  for (const std::string_view word : words) {
    absl::StrAppend(&bytes, "$", word.size(), "\r\n");
    bytes.append(word).append("\r\n");
  }
  return bytes;
}

ReplyReader::ReplyReader() : reader_(redisReaderCreateWithFunctions(ReplyObjects::Functions())) {
  if (reader_ != nullptr) reader_->privdata = &budget_;
}

ReplyReader::~ReplyReader() {
  if (reader_ != nullptr) redisReaderFree(reader_);
}

absl::Status ReplyReader::Feed(std::string_view bytes) {
  unread_bytes_ += bytes.size();
  if (reader_ == nullptr || redisReaderFeed(reader_, bytes.data(), bytes.size()) != REDIS_OK) {
    return absl::InternalError("redis: no memory to read a reply");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Reply>> ReplyReader::Next() {
  if (reader_ == nullptr) return absl::InternalError("redis: no memory to read a reply");
  void* object = nullptr;
  if (redisReaderGetReply(reader_, &object) != REDIS_OK) {
    return absl::InternalError(
        absl::StrCat("redis: what the server sent is no reply: ", reader_->errstr));
  }
  if (object == nullptr) {
    if (unread_bytes_ <= kReplyBytesMax) return std::nullopt;
    return absl::InternalError(
        absl::StrCat("redis: a reply of more than ", kReplyBytesMax, " bytes"));
  }
  budget_ = {};
  unread_bytes_ = reader_->len - reader_->pos;
  const std::unique_ptr<Reply> reply(static_cast<Reply*>(object));
  return std::optional<Reply>(std::move(*reply));
}

}  // namespace once::redis
