// Ids, scopes, keys and headers are bytes; terminals and JSON want text. What is harmless text is
// shown as it is, anything else as "hex:…", and both are accepted. Injective: what is shown names
// exactly one byte string.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace once::cli {

// UTF-8 without control characters and without marks that turn the direction of writing: neither
// moves a terminal's cursor nor hides what it says.
bool IsHarmlessText(std::string_view bytes);

std::string ShowBytes(std::string_view bytes);

// The reverse; nullopt for a "hex:…" that is no hexadecimal.
std::optional<std::string> ReadBytes(std::string_view shown);

// A sentence from elsewhere (an error message) on one line: what is not harmless is escaped.
std::string ShowSentence(std::string_view text);

// "group billing, topic orders" for a default scope, "scope payments" for a named one.
std::string ShowScope(std::string_view scope);

// True when `text` is what a person may write for `scope`: what ShowScope or ShowBytes makes of it,
// "billing/orders", or "payments".
bool IsNameOfScope(std::string_view text, std::string_view scope);

}  // namespace once::cli
