// Login, pipelines in chunks, and what is known when one of them breaks.
#include "adapters/redis/connection.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

// Of one pipeline. Both sides hold that much; neither waits for the other to read.
constexpr std::size_t kChunkCommands = 256;
constexpr std::size_t kChunkBytes = 512 * 1024;
constexpr std::size_t kReceiveBytes = 16 * 1024;

// How many of the first commands make a chunk: at least one.
std::size_t ChunkOf(std::span<const std::string_view> commands) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  while (count < std::min(commands.size(), kChunkCommands)) {
    bytes += commands[count].size();
    if (count > 0 && bytes > kChunkBytes) break;
    ++count;
  }
  return count;
}

std::string Login(const ServerAddress& address) {
  if (address.user.empty()) {
    const std::array<std::string_view, 2> words = {"AUTH", address.password};
    return EncodeCommand(words);
  }
  const std::array<std::string_view, 3> words = {"AUTH", address.user, address.password};
  return EncodeCommand(words);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ServerAddress& address,
                                                             const TlsContext* tls,
                                                             Deadline deadline) {
  const std::string what = absl::StrCat("redis: ", address.Describe());
  auto stream = ConnectSocket(address, deadline);
  if (!stream.ok()) return Annotate(stream.status(), what);
  if (address.is_tls && tls != nullptr) {
    stream = tls->Secure(*std::move(stream), address.host, deadline);
    if (!stream.ok()) {
      const bool is_refused = absl::IsPermissionDenied(stream.status());
      const auto code =
          is_refused ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kUnavailable;
      return Annotate(absl::Status(code, stream.status().message()), what);
    }
  }
  std::unique_ptr<Connection> connection(new Connection(*std::move(stream)));
  if (absl::Status done = connection->LogIn(address, deadline); !done.ok()) {
    return Annotate(done, what);
  }
  return connection;
}

absl::Status Connection::LogIn(const ServerAddress& address, Deadline deadline) {
  std::vector<std::string> commands;
  // A user may need no password; without AUTH it would silently be another one.
  const bool has_login = !address.password.empty() || !address.user.empty();
  if (has_login) commands.push_back(Login(address));
  if (address.database != 0) {
    const std::string number = absl::StrCat(address.database);
    const std::array<std::string_view, 2> words = {"SELECT", number};
    commands.push_back(EncodeCommand(words));
  }
  const auto replies = Run(commands, deadline);
  if (!replies.ok()) return absl::UnavailableError(replies.status().message());
  for (const Reply& reply : *replies) {
    if (reply.is_error()) return ErrorStatus(reply.text, /*is_opening=*/true);
  }
  return absl::OkStatus();
}

bool Connection::IsUsable() { return !is_broken_ && stream_->IsQuiet(); }

absl::StatusOr<std::vector<Reply>> Connection::Run(std::span<const std::string> commands,
                                                   Deadline deadline) {
  Pipeline pipeline{.connection = this, .commands = {commands.begin(), commands.end()}};
  RunTogether({&pipeline, 1}, deadline);
  if (!pipeline.status.ok()) return pipeline.status;
  return std::move(pipeline.replies);
}

void Connection::RunTogether(std::span<Pipeline> pipelines, Deadline deadline) {
  struct Chunk {
    Pipeline* pipeline;
    std::size_t size;
  };
  const auto judge = [](const absl::Status& run, Pipeline& pipeline) {
    if (run.ok()) return;
    pipeline.connection->is_broken_ = true;
    const bool is_unheard = pipeline.replies.empty() && absl::IsUnavailable(run);
    pipeline.status = is_unheard ? run : absl::UnknownError(run.message());
  };
  while (true) {
    std::vector<Chunk> chunks;
    for (Pipeline& pipeline : pipelines) {
      const auto rest = std::span(pipeline.commands).subspan(pipeline.replies.size());
      if (rest.empty() || !pipeline.status.ok()) continue;
      const std::size_t size = ChunkOf(rest);
      judge(pipeline.connection->SendChunk(rest.first(size), deadline), pipeline);
      if (pipeline.status.ok()) chunks.push_back({.pipeline = &pipeline, .size = size});
    }
    if (chunks.empty()) return;
    for (const auto& [pipeline, size] : chunks) {
      judge(pipeline->connection->ReadChunk(size, pipeline->replies, deadline), *pipeline);
    }
  }
}

absl::Status Connection::SendChunk(std::span<const std::string_view> commands, Deadline deadline) {
  std::string bytes;
  for (const std::string_view command : commands) bytes.append(command);
  return Annotate(stream_->Send(bytes, deadline), "redis: the connection is lost");
}

absl::Status Connection::ReadChunk(std::size_t count, std::vector<Reply>& replies,
                                   Deadline deadline) {
  for (std::size_t i = 0; i < count; ++i) {
    absl::StatusOr<Reply> reply = ReadReply(deadline);
    if (!reply.ok()) {
      return absl::UnknownError(absl::StrCat("redis: the connection is lost, with ", count - i,
                                             " answers to come: ", reply.status().message()));
    }
    replies.push_back(*std::move(reply));
  }
  return absl::OkStatus();
}

absl::StatusOr<Reply> Connection::ReadReply(Deadline deadline) {
  std::array<char, kReceiveBytes> part{};
  while (true) {
    absl::StatusOr<std::optional<Reply>> reply = reader_.Next();
    if (!reply.ok()) return reply.status();
    if (reply->has_value()) return **std::move(reply);
    const absl::StatusOr<std::size_t> size = stream_->Receive(part, deadline);
    if (!size.ok()) return size.status();
    if (*size == 0) return absl::UnavailableError("the server has closed it");
    if (absl::Status fed = reader_.Feed({part.data(), *size}); !fed.ok()) return fed;
  }
}

}  // namespace once::redis
