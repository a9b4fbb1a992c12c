// Clients of a client library that is wrong: of so many records one is acknowledged and never sent.
// A campaign about the sending side that does not notice proves nothing.
#pragma once

#include "once/record_client.h"

namespace once::campaign {

// One in so many records that have a stamp is forgotten, over all clients of the factory.
inline constexpr int kForgottenOneIn = 100;

RecordClientFactory ForgetfulClients(RecordClientFactory inner);

}  // namespace once::campaign
