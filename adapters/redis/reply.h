// The protocol of Redis (RESP 2): commands as bytes, and bytes as replies. hiredis reads; what it
// may be made to allocate is bounded here.
// Source: https://redis.io/docs/reference/protocol-spec
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct redisReader;

namespace once::redis {

// Of one reply; the longest are rows of a spool, some MiB and one row more (outgoing_rows.h).
inline constexpr std::size_t kReplyBytesMax = 16 * 1024 * 1024;
inline constexpr std::size_t kReplyElementsMax = 16 * 1024;

struct Reply {
  enum class Kind : std::uint8_t { kNil, kInteger, kText, kError, kArray };

  Kind kind = Kind::kNil;
  std::int64_t integer = 0;
  std::string text;  // kText, kError
  std::vector<Reply> elements;

  bool is_error() const { return kind == Kind::kError; }
  bool is_text() const { return kind == Kind::kText; }
};

// A command as the server reads it. Pure.
std::string EncodeCommand(std::span<const std::string_view> words);

// Takes replies out of a stream of bytes. Thread-safety: one thread at a time.
class ReplyReader {
 public:
  ReplyReader();
  ~ReplyReader();
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  // kInternal, now and ever after: these bytes are no reply, or too much of one.
  absl::Status Feed(std::string_view bytes);
  // The next reply; nullopt while it is not whole.
  absl::StatusOr<std::optional<Reply>> Next();

 private:
  struct Budget {
    std::size_t elements = 0;  // of all arrays of the reply at hand
  };
  friend struct ReplyObjects;

  Budget budget_;
  std::size_t unread_bytes_ = 0;  // fed since the last whole reply, at least those of the next
  redisReader* reader_;
};

}  // namespace once::redis
