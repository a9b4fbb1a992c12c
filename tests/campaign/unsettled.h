// What a life that was to settle everything has left, for people who ask why: each a few lines of
// text, read from the systems themselves as they are at that moment.
// Thread-safety: safe for concurrent use.
#pragma once

#include <string>
#include <vector>

#include "tests/campaign/truth.h"

namespace once::campaign {

// The sessions of a PostgreSQL store, what each waits for and which locks it holds beside those of
// its rows (the relay's, the upkeep's). Only while a process lives are its sessions there. Empty
// for other stores.
std::string DescribeSessions(const std::string& place);

// Partitions that the group has not read to their end, what is there of the messages from its
// offset on, and how many letters are in the outbox.
std::string DescribeLeftover(const Truth& truth);

// The letters that are not published: those that wait, and those that were given up.
std::string DescribeLetters(DedupStore& store);

// The calls of a process that had no end when it ended.
std::string DescribeOpenCalls(const std::string& history);

// The last lines of a text file; nothing where there is none.
std::string TailOf(const std::string& file);

}  // namespace once::campaign
