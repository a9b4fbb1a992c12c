// What a session is opened with: the user's own connection string, and what the store adds to it
// where the user has said nothing. Pure, but for a look at the file of certificates and at libpq's
// variables of the environment.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "adapters/postgres/session.h"
#include "once/postgres/store.h"

namespace once::postgres {

// Where Debian, and most others by a link, keep the certificates that the machine trusts.
inline constexpr char kSystemCertificates[] = "/etc/ssl/certs/ca-certificates.crt";

// REQUIRES: `session_name` tells this opening from others.
// kInvalidArgument: the connection string is none.
absl::StatusOr<ConnectionSettings> SettingsFor(const StoreOptions& options,
                                               std::string_view session_name);

// "on schema once of billing at db:5432", for messages. Never a password.
std::string Whereabouts(const ConnectionSettings& settings, std::string_view schema);

// kInvalidArgument: no store has such a schema. `option` is what has the name, for the message.
absl::Status CheckSchemaName(const std::string& schema, std::string_view option);

// OK where the options can be.
absl::Status CheckOptions(const StoreOptions& options);

}  // namespace once::postgres
