// Properties are librdkafka's own settings, for whatever the options of this adapter have no field
// for: TLS, SASL, buffer sizes, debug contexts.
//
//   .properties = {{"security.protocol", "SASL_SSL"}, {"sasl.mechanisms", "PLAIN"},
//                  {"sasl.username", user}, {"sasl.password", password}}
//
// An unknown name is an error that names it; a name that this adapter must own, because its
// guarantees rest on the value, is refused with the reason and the field to use instead. Values of
// secrets never appear in errors or log lines.
// Names: https://github.com/confluentinc/librdkafka/blob/v2.0.2/CONFIGURATION.md
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace once::kafka {

using Properties = std::vector<std::pair<std::string, std::string>>;

}  // namespace once::kafka
