// A connection whose errors are SQLSTATEs instead of sentences.
#include "adapters/postgres/refusal.h"

#include <poll.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace once::postgres {
namespace {

// "connection to server … failed: FATAL:  28P01": the last word, whatever stands in front of it.
std::string SqlstateAtEnd(absl::string_view message) {
  constexpr std::size_t kSqlstateBytes = 5;
  message = absl::StripAsciiWhitespace(message);
  if (message.size() <= kSqlstateBytes) return {};
  const absl::string_view last = message.substr(message.size() - kSqlstateBytes);
  const bool is_word =
      absl::ascii_isspace(static_cast<unsigned char>(message[message.size() - kSqlstateBytes - 1]));
  const bool is_code = std::all_of(last.begin(), last.end(), [](char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z');
  });
  return is_word && is_code ? std::string(last) : std::string();
}

}  // namespace

std::string FindRefusal(const ConnectionSettings& settings, absl::Duration patience) {
  std::vector<const char*> names;
  std::vector<const char*> values;
  for (const auto& [name, value] : settings) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(
      PQconnectStartParams(names.data(), values.data(), 0), PQfinish);
  if (connection == nullptr) return {};
  PQsetErrorVerbosity(connection.get(), PQERRORS_SQLSTATE);
  const SteadyTime deadline = SteadyNow() + absl::ToChronoNanoseconds(patience);
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;
  while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
    const std::int64_t left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyNow()).count();
    const auto events = static_cast<short>(next == PGRES_POLLING_READING ? POLLIN : POLLOUT);
    pollfd one{.fd = PQsocket(connection.get()), .events = events, .revents = 0};
    if (left <= 0 || one.fd < 0) break;
    if (poll(&one, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000))) < 0) break;
    if (one.revents != 0) next = PQconnectPoll(connection.get());
  }
  return next == PGRES_POLLING_FAILED ? SqlstateAtEnd(PQerrorMessage(connection.get())) : "";
}

}  // namespace once::postgres
