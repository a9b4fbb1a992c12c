// Defaults of sessions: verified servers, bounded waits, and plans that are made for what is asked.
#include "adapters/postgres/settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"
#include "src/stores/retention.h"

namespace once::postgres {
namespace {

std::string* FindSetting(ConnectionSettings& settings, std::string_view name) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const auto& setting) { return setting.first == name; });
  return found == settings.end() ? nullptr : &found->second;
}

std::string SettingOf(const ConnectionSettings& settings, std::string_view name) {
  for (const auto& [key, value] : settings) {
    if (key == name) return value;
  }
  return {};
}

void SetDefault(ConnectionSettings& settings, std::string name, std::string value) {
  if (FindSetting(settings, name) == nullptr) settings.emplace_back(std::move(name), value);
}

// As libpq does where the connection string has none. A look at the environment.
std::string SettingOrDefault(const ConnectionSettings& settings, std::string_view name,
                             const char* variable) {
  std::string value = SettingOf(settings, name);
  if (!value.empty()) return value;
  const char* const found = std::getenv(variable);
  return found == nullptr ? "" : found;
}

bool IsLoopback(const std::string& address) {
  in_addr four{};
  if (inet_pton(AF_INET, address.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six{};
  return inet_pton(AF_INET6, address.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

// Nobody sits between us and the server. False where that is not known.
bool IsLocal(const ConnectionSettings& settings) {
  // A service may name any host, in a file that only libpq reads.
  if (!SettingOrDefault(settings, "service", "PGSERVICE").empty()) return false;
  const std::string hosts = SettingOrDefault(settings, "host", "PGHOST");
  for (const absl::string_view host : absl::StrSplit(hosts, ',')) {
    const bool is_socket = host.empty() || host[0] == '/' || host[0] == '@';
    if (!is_socket && host != "localhost" && !IsLoopback(std::string(host))) return false;
  }
  // These are where it connects to, whatever the hosts are called.
  const std::string addresses = SettingOrDefault(settings, "hostaddr", "PGHOSTADDR");
  for (const absl::string_view address : absl::StrSplit(addresses, ',')) {
    if (!address.empty() && !IsLoopback(std::string(address))) return false;
  }
  return true;
}

// What libpq says of a connection string up to what it quotes of it, which may be the password.
std::string_view KindOfError(std::string_view message) {
  const auto is_plain = [](char byte) {
    return std::isalpha(static_cast<unsigned char>(byte)) != 0 || byte == ' ';
  };
  const auto end = std::find_if_not(message.begin(), message.end(), is_plain);
  return message.substr(0, static_cast<std::size_t>(end - message.begin()));
}

std::string Milliseconds(absl::Duration duration) {
  return absl::StrCat(std::max<std::int64_t>(1, absl::ToInt64Milliseconds(duration)));
}

}  // namespace

absl::StatusOr<ConnectionSettings> SettingsFor(const StoreOptions& options,
                                               std::string_view session_name) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(
      PQconninfoParse(options.connection.c_str(), &error), PQconninfoFree);
  const std::unique_ptr<char, void (*)(void*)> message(error, PQfreemem);
  if (!parsed) {
    return absl::InvalidArgumentError(
        absl::StrCat("postgres: StoreOptions::connection is no connection string: ",
                     error == nullptr ? "no memory" : ToAbsl(KindOfError(error)),
                     " (what it says there is not shown, it may be a password)"));
  }
  ConnectionSettings settings;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) settings.emplace_back(option->keyword, option->val);
  }
  const bool may_be_attacked = !IsLocal(settings);
  if (may_be_attacked) SetDefault(settings, "sslmode", "verify-full");
  if (SettingOf(settings, "sslmode").starts_with("verify") &&
      access(kSystemCertificates, R_OK) == 0) {
    SetDefault(settings, "sslrootcert", kSystemCertificates);
  }
  SetDefault(settings, "target_session_attrs", "read-write");
  // libpq takes whole seconds, two at least, and gives so many to each host.
  const std::int64_t seconds =
      absl::ToInt64Seconds(absl::Ceil(options.connect_timeout, absl::Seconds(1)));
  SetDefault(settings, "connect_timeout", absl::StrCat(std::max<std::int64_t>(2, seconds)));
  SetDefault(settings, "keepalives_idle", "10");
  SetDefault(settings, "keepalives_interval", "5");
  SetDefault(settings, "keepalives_count", "3");
  SetDefault(settings, "tcp_user_timeout", Milliseconds(options.answer_timeout));
  // The store's own name is how its sessions are told from others.
  std::erase_if(settings, [](const auto& setting) { return setting.first == "application_name"; });
  settings.emplace_back("application_name", session_name);
  // An index is right for our statements whatever the statistics say of a table that was empty a
  // minute ago: plans are made for the arrays they are run with.
  std::string own = absl::StrCat(
      SettingOf(settings, "options"), " -c lock_timeout=", Milliseconds(options.lock_timeout),
      " -c statement_timeout=", Milliseconds(options.statement_timeout),
      " -c idle_in_transaction_session_timeout=", Milliseconds(options.idle_in_transaction_timeout),
      " -c plan_cache_mode=force_custom_plan -c client_encoding=UTF8",
      " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3");
  std::erase_if(settings, [](const auto& setting) { return setting.first == "options"; });
  settings.emplace_back("options", std::move(own));
  return settings;
}

std::string Whereabouts(const ConnectionSettings& settings, std::string_view schema) {
  std::string database = SettingOf(settings, "dbname");
  if (database.empty()) database = SettingOf(settings, "user");
  std::string host = SettingOf(settings, "host");
  if (host.empty()) host = SettingOf(settings, "hostaddr");
  const std::string port = SettingOf(settings, "port");
  return absl::StrCat("on schema ", ToAbsl(schema), database.empty() ? "" : " of ", database,
                      host.empty() ? "" : " at ", host, port.empty() ? "" : ":", port);
}

absl::Status CheckSchemaName(const std::string& schema, std::string_view option) {
  const bool is_name =
      !schema.empty() && schema.size() <= 50 && !schema.starts_with("pg_") &&
      std::all_of(schema.begin(), schema.end(), [](char byte) {
        return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_';
      });
  if (is_name && (schema[0] < '0' || schema[0] > '9')) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("postgres: ", ToAbsl(option), " is \"", schema,
                   "\": at most 50 small letters, digits and underscores, not pg_…"));
}

absl::Status CheckOptions(const StoreOptions& options) {
  absl::Status named = CheckSchemaName(options.schema, "StoreOptions::schema");
  if (!named.ok()) return named;
  if (options.lock_timeout <= absl::ZeroDuration() || options.lock_timeout >= absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        "postgres: StoreOptions::lock_timeout must be more than nothing and less than a second");
  }
  if (options.connections_max < 2) {
    return absl::InvalidArgumentError(
        "postgres: StoreOptions::connections_max must be at least 2: the relay needs one beside "
        "the transaction");
  }
  for (const absl::Duration one :
       {options.connect_timeout, options.answer_timeout, options.statement_timeout,
        options.idle_in_transaction_timeout, options.handler_lock_timeout}) {
    if (one > absl::ZeroDuration() && one < absl::Hours(24 * 20)) continue;
    return absl::InvalidArgumentError(
        "postgres: the timeouts of StoreOptions must be more than nothing and less than 20 days");
  }
  if (options.hung_after <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "postgres: StoreOptions::hung_after must be more than nothing; infinite ends nobody");
  }
  return stores::CheckRetention("postgres", options.retention);
}

}  // namespace once::postgres
