// Parsing of redis://, rediss:// and unix: URLs.
#include "adapters/redis/address.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr std::string_view kForms =
    "use redis://[user:password@]host[:port][/database], rediss://… for TLS, or "
    "unix:/path[?database=n]";

absl::Status Refuse(std::string_view reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("redis: the URL ", ToAbsl(reason), "; ", ToAbsl(kForms)));
}

// "%41" is "A"; nullopt where two hex digits are missing.
std::optional<std::string> Unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const char high = text[i + 1];
    const char low = text[i + 2];
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(high)) ||
        !absl::ascii_isxdigit(static_cast<unsigned char>(low))) {
      return std::nullopt;
    }
    plain += absl::HexStringToBytes(std::string{high, low});
    i += 2;
  }
  return plain;
}

// Cuts what follows the first `mark` off `text`; empty where there is none.
std::string_view CutAfter(std::string_view& text, char mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = text.substr(at + 1);
  text = text.substr(0, at);
  return rest;
}

bool ParseNumber(std::string_view text, int max, int& number) {
  return absl::SimpleAtoi(ToAbsl(text), &number) && number >= 0 && number <= max;
}

constexpr int kDatabaseMax = 1'000'000;
constexpr int kPortMax = 65535;

absl::StatusOr<ServerAddress> ParseSocket(std::string_view rest) {
  if (rest.starts_with("//")) rest.remove_prefix(2);
  ServerAddress address;
  std::string_view query = CutAfter(rest, '?');
  const std::optional<std::string> path = Unescape(rest);
  if (!path || path->empty() || path->front() != '/') return Refuse("has no absolute path");
  address.socket_path = *path;
  if (query.empty()) return address;
  constexpr std::string_view kDatabase = "database=";
  if (!query.starts_with(kDatabase) ||
      !ParseNumber(query.substr(kDatabase.size()), kDatabaseMax, address.database)) {
    return Refuse("has a query that is not database=n");
  }
  return address;
}

absl::Status ParseUser(std::string_view text, ServerAddress& address) {
  const std::string_view password = CutAfter(text, ':');
  const std::optional<std::string> user = Unescape(text);
  const std::optional<std::string> plain = Unescape(password);
  if (!user || !plain) return Refuse("has a % without two hex digits behind it");
  address.user = *user;
  address.password = *plain;
  return absl::OkStatus();
}

// `text` is host, host:port, or [::1]:port.
absl::Status ParseHost(std::string_view text, ServerAddress& address) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return Refuse("has a [ without its ]");
    port = text.substr(end + 1);
    address.host = std::string(text.substr(1, end - 1));
    if (!port.empty() && !port.starts_with(':')) return Refuse("has more than a port behind its ]");
    if (!port.empty()) port.remove_prefix(1);
  } else {
    port = CutAfter(text, ':');
    address.host = std::string(text);
  }
  if (address.host.empty()) return Refuse("names no host");
  if (!port.empty() && (!ParseNumber(port, kPortMax, address.port) || address.port == 0)) {
    return Refuse("has a port that is no number from 1 to 65535");
  }
  return absl::OkStatus();
}

}  // namespace

std::string ServerAddress::Describe() const {
  if (!socket_path.empty()) return absl::StrCat("unix:", socket_path, " database ", database);
  const bool is_number = host.find(':') != std::string::npos;
  return absl::StrCat(is_tls ? "rediss://" : "redis://", is_number ? "[" : "", host,
                      is_number ? "]" : "", ":", port, "/", database);
}

absl::StatusOr<ServerAddress> ParseUrl(std::string_view url) {
  constexpr std::string_view kSocket = "unix:";
  constexpr std::string_view kPlain = "redis://";
  constexpr std::string_view kTls = "rediss://";
  if (url.starts_with(kSocket)) return ParseSocket(url.substr(kSocket.size()));
  ServerAddress address;
  address.is_tls = url.starts_with(kTls);
  if (!address.is_tls && !url.starts_with(kPlain)) return Refuse("begins with none of its schemes");
  std::string_view rest = url.substr(address.is_tls ? kTls.size() : kPlain.size());
  const std::string_view database = CutAfter(rest, '/');
  if (!database.empty() && !ParseNumber(database, kDatabaseMax, address.database)) {
    return Refuse("has a database that is no number");
  }
  // A password may hold an @ that nobody escaped; a host cannot.
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    absl::Status parsed = ParseUser(rest.substr(0, at), address);
    if (!parsed.ok()) return parsed;
    rest.remove_prefix(at + 1);
  }
  if (absl::Status parsed = ParseHost(rest, address); !parsed.ok()) return parsed;
  return address;
}

}  // namespace once::redis
